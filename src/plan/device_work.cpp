#include "plan/device_work.h"

#include <algorithm>
#include <cmath>

namespace tandem {
namespace {

// Rows of a matrix tile of which a product wastes about as many as this at its edge (tiles of 64 to
// 128 rows, half of one on average).
constexpr double kTileRows = 48;

// Operations a second of matrix products with such weights.
double product_rate(ElementType type, const DeviceRates& device) {
  if (!device.is_cpu) return device.matrix_ops;
  return processor_product_rate(type, device.matrix_ops, device.bf16_ops, device.scalar_ops);
}

// The type that stands for all weights of a model, where kernels are not told apart.
ElementType main_type(const ModelCosts& model) {
  if (model.quantised()) return ElementType::kQ8_0;
  return model.bf16() ? ElementType::kBF16 : ElementType::kF16;
}

// Bytes a second that the device could read now.
double bandwidth_of(const DeviceRates& device) {
  return device.shared_bytes > 0 ? device.shared_bytes : device.bandwidth_bytes;
}

bool has_kernels(const DeviceRates& device) {
  return device.is_cpu && !device.backend->kernels.empty();
}

// Seconds of products of `rows` rows with weights of these types.
double kernel_seconds(const std::vector<TypeShare>& types, double bytes, double weights,
                      double rows, const DeviceRates& device) {
  if (bytes <= 0) return 0;
  const bool together = device.shared_bytes > 0;
  double seconds = 0;
  for (const TypeShare& share : types) {
    const KernelCosts& kernel = *find_kernel(device.backend->kernels, share.type);
    const double read = (together ? kernel.shared_read : kernel.read) * bandwidth_of(device);
    const double operations = 2 * weights * share.weights * arithmetic_rows(kernel, rows, together);
    seconds += overlapped(kernel, bytes * share.bytes / read,
                          operations / product_rate(share.type, device));
  }
  return seconds;
}

// Seconds of `tokens` tokens in the layers' products: dense ones, and those of the experts that
// they touch, each with its part of the tokens.
double layer_products_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                        double tokens) {
  const auto& types = model.layer_types();
  double seconds = kernel_seconds(types, costs.bytes - costs.output_bytes,
                                  costs.weights - costs.output_weights, tokens, device);
  if (const double touched = model.experts_touched(tokens); touched > 0) {
    seconds += kernel_seconds(types, costs.expert_bytes * touched, costs.expert_weights * touched,
                              tokens * model.expert_share() / touched, device);
  }
  return seconds;
}

// Activations that pass through memory between the products of `tokens` tokens.
double traffic_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                 double tokens) {
  const BackendProfile& backend = *device.backend;
  const double floats = costs.layers * tokens *
                        (model.hidden() * backend.activation_hidden +
                         (model.width() + model.head_width()) * backend.activation_width);
  return 4 * floats / device.bandwidth_bytes;
}

// Keys and values of `batch` sequences at `context`.
double cache_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
               double context, double batch, bool windows) {
  const BackendProfile& backend = *device.backend;
  const double window = windows || model.has_linear_layers() ? model.window() : context;
  const double bytes =
      costs.kv_bytes_full * context + costs.kv_bytes_windowed * std::min(context, window);
  const bool together = device.shared_bytes > 0 && backend.shared_kv_efficiency > 0;
  const double efficiency = together ? backend.shared_kv_efficiency : backend.kv_efficiency;
  return batch * bytes / (efficiency * bandwidth_of(device));
}

// Scores and weighted sums of a prompt's chunk of `tokens`, `context` tokens before it on average.
double attention_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                   double tokens, double context, double product_ops) {
  const BackendProfile& backend = *device.backend;
  const double seen = std::max(1.0, context);
  const double in_window = std::min(seen, std::max(1.0, model.window()));
  const double windowed = costs.layers - costs.full_layers;
  const double positions = costs.full_layers * seen + windowed * in_window;
  const double pairs = tokens * positions;
  const double rate = backend.attention_efficiency > 0
                          ? backend.attention_efficiency * device.scalar_ops
                          : product_ops / backend.attention_factor;
  const double scores =
      pairs * model.head_width() / 128 * backend.score_passes / device.bandwidth_bytes;
  // A chunk looks at what came before it and at itself, of which half came before on average.
  const double looked_at = positions + 0.5 * tokens * costs.layers;
  const double packing =
      looked_at * model.kv_width() * backend.attention_context_ops / device.scalar_ops;
  return 4 * pairs * model.head_width() / rate + scores + packing;
}

}  // namespace

double decode_work_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                     double context, double batch, bool windows) {
  const double cache = cache_s(model, costs, device, context, batch, windows);
  if (has_kernels(device)) {
    return layer_products_s(model, costs, device, batch) +
           kernel_seconds(model.output_types(), costs.output_bytes, costs.output_weights, batch,
                          device) +
           traffic_s(model, costs, device, batch - 1) + cache;
  }
  const BackendProfile& backend = *device.backend;
  const double touched = model.experts_touched(batch);
  const double bytes = costs.bytes + costs.expert_bytes * touched;
  const double weights = costs.weights + costs.expert_weights * touched;
  const double used = costs.weights + costs.expert_weights * model.expert_share();
  const double unpack =
      weights * (model.quantised() ? backend.matvec_ops_quantised : backend.matvec_ops_half) /
      device.scalar_ops;
  const double reading = bytes / (backend.memory_efficiency * bandwidth_of(device)) + unpack;
  const double further = 2 * used * (batch - 1);
  return std::max(reading, further / (backend.matmul_efficiency * device.matrix_ops)) + cache;
}

double prefill_work_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                      double tokens, double context) {
  if (has_kernels(device)) {
    return layer_products_s(model, costs, device, tokens) +
           attention_s(model, costs, device, tokens, context, device.scalar_ops) +
           traffic_s(model, costs, device, tokens);
  }
  const BackendProfile& backend = *device.backend;
  const double touched = model.experts_touched(tokens);
  const double dense = 2 * (costs.weights - costs.output_weights) * tokens;
  const double routed = 2 * costs.expert_weights * model.expert_share() * tokens;
  // An expert's product has tokens x k / E rows, which fill matrix tiles badly when they are few.
  const double rows = std::max(1.0, tokens * model.expert_share());
  const double operations = dense + routed * (1 + kTileRows / rows);
  const double factor = model.quantised() ? backend.quantised_factor : 1.0;
  const double rate = backend.matmul_efficiency * product_rate(main_type(model), device);
  const double products = operations / (rate * factor);
  const double bytes = costs.bytes - costs.output_bytes + costs.expert_bytes * touched;
  const double reading = bytes / (backend.memory_efficiency * bandwidth_of(device));
  const double power =
      device.energy_pj > 0 ? operations * device.energy_pj * 1e-12 / (device.power_w * factor) : 0;
  const double both = device.is_cpu ? products + reading : std::max(products, reading);
  return both + power + attention_s(model, costs, device, tokens, context, rate) +
         traffic_s(model, costs, device, tokens);
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
