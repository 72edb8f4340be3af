#include "plan/device_rates.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <numeric>

#include "machine/gpu_catalogue.h"

namespace tandem {
namespace {

// A core of a current server or desktop reads about so much alone, until its socket's two channels
// of DDR5 are full, and computes so much with AVX2 at 3 GHz: two units of 8 float32 lanes (fused,
// 16 operations each), and of 32 bytes whose products take three instructions without VNNI. Only
// where nothing was measured: of this computer's processor `plan` measures it.
constexpr double kCoreBandwidth = 15e9;
constexpr double kSocketBandwidth = 60e9;
constexpr double kCoreMatrixOps = 150e9;
constexpr double kCoreScalarOps = 96e9;
constexpr double kCoreWatts = 8;

std::string squeezed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return out.substr(0, 64);
}

// Levenshtein's edit distance.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, diagonal + 1, replaced});
    }
  }
  return row.back();
}

std::string backend_of(const GpuModel* model) {
  if (model == nullptr) return "cuda";
  if (model->vendor == "NVIDIA") {
    const std::string& chip = model->architecture;
    if (chip == "maxwell" || chip == "pascal") return "cuda-old";
    return chip == "volta" || chip == "ampere-hpc" || chip == "hopper" ? "cuda-hbm" : "cuda";
  }
  return model->vendor == "Apple" ? "metal" : "hip";
}

bool is_geforce(const GpuModel& model) {
  for (const char* series : {"RTX 20", "RTX 30", "RTX 40", "RTX 50"}) {
    if (!model.name.starts_with(series)) continue;
    return model.name.find("Ada") == std::string::npos;
  }
  return false;
}

DeviceRates cpu_rates(const MachineDevice& device, const EngineProfile& engine) {
  DeviceRates rates;
  const double cores = device.cores.empty() ? 8.0 : static_cast<double>(device.cores.size());
  rates.is_cpu = true;
  rates.assumed = !device.bandwidth_gbps.has_value();
  rates.bandwidth_bytes = device.bandwidth_gbps.value_or(0) > 0
                              ? *device.bandwidth_gbps * 1e9
                              : std::min(cores * kCoreBandwidth, kSocketBandwidth);
  rates.matrix_ops = cores * kCoreMatrixOps;
  rates.scalar_ops = cores * kCoreScalarOps;
  if (device.products && device.products->int8_gops > 0 && device.products->float_gflops > 0) {
    rates.matrix_ops = device.products->int8_gops * 1e9;
    rates.scalar_ops = device.products->float_gflops * 1e9;
    rates.bf16_ops = device.products->bf16_gflops * 1e9;
  }
  rates.power_w = rates.default_power_w = device.power_limit_w.value_or(cores * kCoreWatts);
  rates.idle_w = 0.2 * rates.power_w;
  rates.backend = &engine.backend("cpu");
  return rates;
}

}  // namespace

std::string nearest_names(std::string_view name, const std::vector<std::string>& names, int count) {
  std::vector<std::pair<std::size_t, std::size_t>> order;
  const std::string wanted = squeezed(name);
  for (std::size_t i = 0; i < names.size(); ++i) {
    order.emplace_back(distance(wanted, squeezed(names[i])), i);
  }
  std::sort(order.begin(), order.end());
  std::string out;
  for (std::size_t i = 0; i < order.size() && static_cast<int>(i) < count; ++i) {
    out += (i == 0 ? "" : ", ") + names[order[i].second];
  }
  return out;
}

std::string nearest_gpu_names(std::string_view name, int count) {
  std::vector<std::string> names;
  for (const GpuModel& model : gpu_catalogue()) names.push_back(model.name);
  return nearest_names(name, names, count);
}

Result<DeviceRates> rates_of(const MachineDevice& device, const EngineProfile& engine) {
  if (device.kind == MachineDeviceKind::kCpu) return cpu_rates(device, engine);
  const GpuModel* model = find_gpu_model(device.name, device.memory_bytes);
  if (model == nullptr) model = find_gpu_model(device.name);
  DeviceRates rates;
  const double bandwidth =
      device.bandwidth_gbps.value_or(model == nullptr ? 0 : model->bandwidth_gbps.value_or(0));
  if (!(bandwidth > 0)) {
    return Error{ErrorCode::kNotFound,
                 "no figures for this GPU: the nearest names are " + nearest_gpu_names(device.name),
                 device.id,
                 {},
                 device.name};
  }
  rates.bandwidth_bytes = bandwidth * 1e9;
  // A card that no catalogue knows: the ratio of operations to bandwidth of an RTX 3090.
  rates.assumed = model == nullptr;
  const double fp32 = model == nullptr ? 0 : model->fp32_tflops.value_or(0);
  rates.scalar_ops = (fp32 > 0 ? fp32 : bandwidth * 0.038) * 1e12;
  const double tensor = model == nullptr ? 0 : model->tensor_tflops.value_or(0);
  rates.matrix_ops = (tensor > 0 ? tensor : rates.scalar_ops / 1e12) * 1e12;
  if (model != nullptr && engine.half_accumulate && is_geforce(*model)) rates.matrix_ops *= 2;
  // What was measured counts, at single-precision sums.
  if (device.products && device.products->bf16_gflops > 0 && device.products->float_gflops > 0) {
    rates.matrix_ops = device.products->bf16_gflops * 1e9;
    rates.scalar_ops = device.products->float_gflops * 1e9;
  }
  rates.default_power_w = model == nullptr ? 300 : model->power_w.value_or(300);
  rates.power_w = std::min(device.power_limit_w.value_or(rates.default_power_w),
                           std::max(rates.default_power_w, 1.0));
  rates.idle_w = 0.08 * rates.default_power_w;
  rates.energy_pj = model == nullptr ? 0 : energy_pj(model->architecture);
  rates.backend = &engine.backend(backend_of(model));
  return rates;
}

}  // namespace tandem
