#include "machine/nvml_library.h"

#include <dlfcn.h>

namespace tandem {
namespace {

template <typename Function>
void look_up(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

void look_up_system(void* library, NvmlApi& api) {
  look_up(library, "nvmlInit_v2", api.init);
  look_up(library, "nvmlShutdown", api.shutdown);
  look_up(library, "nvmlSystemGetDriverVersion", api.driver_version);
  look_up(library, "nvmlSystemGetCudaDriverVersion_v2", api.cuda_version);
  look_up(library, "nvmlDeviceGetCount_v2", api.device_count);
  look_up(library, "nvmlDeviceGetHandleByIndex_v2", api.device_by_index);
}

void look_up_device(void* library, NvmlApi& api) {
  look_up(library, "nvmlDeviceGetName", api.name);
  look_up(library, "nvmlDeviceGetUUID", api.uuid);
  look_up(library, "nvmlDeviceGetPciInfo_v3", api.pci_info);
  look_up(library, "nvmlDeviceGetMemoryInfo", api.memory);
  look_up(library, "nvmlDeviceGetBAR1MemoryInfo", api.bar1);
  look_up(library, "nvmlDeviceGetCurrPcieLinkGeneration", api.link_generation);
  look_up(library, "nvmlDeviceGetCurrPcieLinkWidth", api.link_width);
  look_up(library, "nvmlDeviceGetMaxPcieLinkGeneration", api.max_link_generation);
  look_up(library, "nvmlDeviceGetMaxPcieLinkWidth", api.max_link_width);
  look_up(library, "nvmlDeviceGetPcieReplayCounter", api.replay_counter);
  look_up(library, "nvmlDeviceGetPerformanceState", api.performance_state);
  look_up(library, "nvmlDeviceGetUtilizationRates", api.utilization);
  look_up(library, "nvmlDeviceGetPowerUsage", api.power_usage_mw);
  look_up(library, "nvmlDeviceGetEnforcedPowerLimit", api.enforced_limit_mw);
  look_up(library, "nvmlDeviceGetPowerManagementDefaultLimit", api.default_limit_mw);
  look_up(library, "nvmlDeviceGetTemperature", api.temperature);
  look_up(library, "nvmlDeviceGetTemperatureThreshold", api.temperature_threshold);
  look_up(library, "nvmlDeviceGetFanSpeed", api.fan_speed);
  look_up(library, "nvmlDeviceGetPersistenceMode", api.persistence);
  look_up(library, "nvmlDeviceGetDisplayActive", api.display_active);
  look_up(library, "nvmlDeviceGetMigMode", api.mig_mode);
  look_up(library, "nvmlDeviceGetCurrentClocksThrottleReasons", api.slowdown_reasons);
  look_up(library, "nvmlDeviceGetTotalEccErrors", api.ecc_errors);
  look_up(library, "nvmlDeviceGetNvLinkState", api.nvlink_state);
  look_up(library, "nvmlDeviceGetNvLinkRemoteDeviceType", api.nvlink_remote_type);
  look_up(library, "nvmlDeviceGetNvLinkRemotePciInfo_v2", api.nvlink_remote);
  look_up(library, "nvmlDeviceGetPowerSource", api.power_source);
  look_up(library, "nvmlDeviceGetGpuMaxPcieLinkGeneration", api.card_link_generation);
  look_up(library, "nvmlDeviceGetRemappedRows", api.remapped_rows);
  look_up(library, "nvmlDeviceGetP2PStatus", api.peer_status);
  look_up(library, "nvmlDeviceGetTopologyCommonAncestor", api.common_ancestor);
}

}  // namespace

Result<NvmlApi> load_nvml() {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return not_found("NVIDIA's driver is not installed", "libnvidia-ml.so.1");
  NvmlApi api;
  look_up_system(library, api);
  look_up_device(library, api);
  if (api.init == nullptr || api.device_count == nullptr || api.device_by_index == nullptr ||
      api.pci_info == nullptr)
    return unsupported("libnvidia-ml.so.1", "this driver is too old", "driver 470 or later");
  return api;
}

}  // namespace tandem
