#include "plan/device_work.h"

#include <algorithm>
#include <cmath>

namespace tandem {
namespace {

// Rows of a matrix tile of which a product wastes about as many as this at its edge (tiles of 64 to
// 128 rows, half of one on average).
constexpr double kTileRows = 48;

// Operations a second of matrix products with such weights.
double product_rate(const ModelCosts& model, const DeviceRates& device) {
  if (!device.is_cpu || model.quantised()) return device.matrix_ops;
  // Kernels multiply bfloat16 where the processor has it; float16 is widened to float32.
  return model.bf16() && device.bf16_ops > 0 ? device.bf16_ops : device.scalar_ops;
}

// Bytes of weights a second: what the device reaches alone, at most what others leave of its bus.
double read_rate(const DeviceRates& device) {
  const double alone = device.backend->memory_efficiency * device.bandwidth_bytes;
  return device.shared_bytes > 0 ? std::min(alone, device.shared_bytes) : alone;
}

}  // namespace

double decode_work_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                     double context, double batch, bool windows) {
  const BackendProfile& backend = *device.backend;
  const double touched = model.experts_touched(batch);
  const double bytes = costs.bytes + costs.expert_bytes * touched;
  const double weights = costs.weights + costs.expert_weights * touched;
  const double used = costs.weights + costs.expert_weights * model.expert_share();
  const double unpack =
      weights * (model.quantised() ? backend.matvec_ops_quantised : backend.matvec_ops_half) /
      device.scalar_ops;
  const double reading = bytes / read_rate(device) + unpack;
  const double further = 2 * used * (batch - 1);
  const double window = windows || model.has_linear_layers() ? model.window() : context;
  const double kv_bytes =
      costs.kv_bytes_full * context + costs.kv_bytes_windowed * std::min(context, window);
  const double kv_rate = read_rate(device) * backend.kv_efficiency / backend.memory_efficiency;
  const double kv = batch * kv_bytes / kv_rate;
  if (backend.batch_efficiency > 0) {
    return reading + further / (backend.batch_efficiency * product_rate(model, device)) + kv;
  }
  return std::max(reading, further / (backend.matmul_efficiency * device.matrix_ops)) + kv;
}

double prefill_work_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                      double tokens, double context) {
  const BackendProfile& backend = *device.backend;
  const double touched = model.experts_touched(tokens);
  const double dense = 2 * costs.weights * tokens;
  const double routed = 2 * costs.expert_weights * model.expert_share() * tokens;
  // An expert's product has tokens x k / E rows, which fill matrix tiles badly when they are few.
  const double rows = std::max(1.0, tokens * model.expert_share());
  const double operations = dense + routed * (1 + kTileRows / rows);
  const double factor = model.quantised() ? backend.quantised_factor : 1.0;
  const double rate = backend.matmul_efficiency * product_rate(model, device);
  const double products = operations / (rate * factor);
  const double bytes = costs.bytes + costs.expert_bytes * touched;
  const double reading = bytes / read_rate(device);
  const double power =
      device.energy_pj > 0 ? operations * device.energy_pj * 1e-12 / (device.power_w * factor) : 0;
  const double seen = std::max(1.0, context);
  const double windowed = costs.layers - costs.full_layers;
  const double pairs = tokens * (costs.full_layers * seen +
                                 windowed * std::min(seen, std::max(1.0, model.window())));
  const double attention_rate = backend.attention_efficiency > 0
                                    ? backend.attention_efficiency * device.scalar_ops
                                    : rate / backend.attention_factor;
  const double attention = 4 * pairs * model.head_width() / attention_rate;
  const double heads = model.head_width() / 128;
  const double scores = pairs * heads * backend.score_passes / device.bandwidth_bytes;
  const double floats = costs.layers * tokens *
                        (model.hidden() * backend.activation_hidden +
                         (model.width() + model.head_width()) * backend.activation_width);
  const double traffic = 4 * floats / device.bandwidth_bytes;
  const double both = device.is_cpu ? products + reading : std::max(products, reading);
  return both + power + attention + scores + traffic;
}

double power_slowdown(const DeviceRates& device, const EngineProfile& engine, double duty) {
  static const double ampere_pj = energy_pj("ampere");
  const double energy = device.energy_pj > 0 && ampere_pj > 0 ? device.energy_pj / ampere_pj : 1.0;
  const double needed = engine.decode_power_share * energy * device.default_power_w * duty;
  if (device.power_w >= device.default_power_w || needed <= device.power_w) return 1.0;
  return needed / device.power_w;
}

double busiest_expert_share(const ModelCosts& model, std::size_t devices, double tokens) {
  // Of 1, 2, ... standard normal variables; beyond, nearly linear in the logarithm.
  constexpr double kExpectedMaximum[] = {0, 0.5642, 0.8463, 1.0294, 1.1630, 1.2672, 1.3522, 1.4236};
  const double picks = tokens * static_cast<double>(model.num_experts_used());
  if (devices < 2 || picks <= 0) return 1;
  const double p = static_cast<double>(devices);
  const double maximum =
      devices <= 8 ? kExpectedMaximum[devices - 1] : 1.4236 + 0.30 * std::log2(p / 8);
  const double all = p;  // never more than all of the picks
  return std::min(all, 1 + maximum * std::sqrt(p / (p - 1)) * std::sqrt((p - 1) / picks));
}

}  // namespace tandem
