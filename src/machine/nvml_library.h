#pragma once

#include <cstdint>

#include "base/result.h"

namespace tandem {

// The functions of NVIDIA's management library (libnvidia-ml.so.1) that Tandem calls, declared
// from its public documentation (NVML API Reference Guide): building needs no header or library.
struct NvmlApi {
  using Device = struct NvmlDeviceHandle*;
  struct PciInfo {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_sub_system_id;
    char bus_id[32];
  };
  struct Memory {
    unsigned long long total, free, used;
  };
  struct Utilization {
    unsigned gpu, memory;
  };

  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*cuda_version)(int*) = nullptr;
  int (*device_count)(unsigned*) = nullptr;
  int (*device_by_index)(unsigned, Device*) = nullptr;
  int (*name)(Device, char*, unsigned) = nullptr;
  int (*uuid)(Device, char*, unsigned) = nullptr;
  int (*pci_info)(Device, PciInfo*) = nullptr;
  int (*memory)(Device, Memory*) = nullptr;
  int (*bar1)(Device, Memory*) = nullptr;
  int (*link_generation)(Device, unsigned*) = nullptr;
  int (*link_width)(Device, unsigned*) = nullptr;
  int (*max_link_generation)(Device, unsigned*) = nullptr;
  int (*max_link_width)(Device, unsigned*) = nullptr;
  int (*replay_counter)(Device, unsigned*) = nullptr;
  int (*performance_state)(Device, int*) = nullptr;
  int (*utilization)(Device, Utilization*) = nullptr;
  int (*power_usage_mw)(Device, unsigned*) = nullptr;
  int (*enforced_limit_mw)(Device, unsigned*) = nullptr;
  int (*default_limit_mw)(Device, unsigned*) = nullptr;
  int (*temperature)(Device, int sensor, unsigned*) = nullptr;
  int (*temperature_threshold)(Device, int kind, unsigned*) = nullptr;
  int (*fan_speed)(Device, unsigned*) = nullptr;
  int (*persistence)(Device, int*) = nullptr;
  int (*display_active)(Device, int*) = nullptr;
  int (*mig_mode)(Device, unsigned* current, unsigned* pending) = nullptr;
  int (*slowdown_reasons)(Device, unsigned long long*) = nullptr;
  int (*ecc_errors)(Device, int type, int counter, unsigned long long*) = nullptr;
  int (*nvlink_state)(Device, unsigned link, int*) = nullptr;
  int (*nvlink_remote_type)(Device, unsigned link, int*) = nullptr;
  int (*nvlink_remote)(Device, unsigned link, PciInfo*) = nullptr;
  int (*power_source)(Device, unsigned*) = nullptr;
  int (*card_link_generation)(Device, unsigned*) = nullptr;
  int (*remapped_rows)(Device, unsigned* correctable, unsigned* uncorrectable, unsigned* pending,
                       unsigned* failed) = nullptr;
  int (*peer_status)(Device, Device, int operation, int*) = nullptr;
  int (*common_ancestor)(Device, Device, int*) = nullptr;
};

// Loads the library and looks the functions up; those an old driver lacks stay nullptr. Error
// kNotFound where the driver is not installed. The library stays loaded.
Result<NvmlApi> load_nvml();

}  // namespace tandem
