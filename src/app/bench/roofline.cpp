#include "app/bench/roofline.h"

#include <algorithm>

#include "plan/model_costs.h"

namespace tandem {
namespace {

double reading_seconds(const PhaseCost& cost, const Ceilings& ceilings) {
  return ceilings.read_gbps > 0 ? cost.bytes / (1e9 * ceilings.read_gbps) : 0;
}

double product_seconds(const PhaseCost& cost, const Ceilings& ceilings) {
  const double rate = product_gops(cost, ceilings);
  return rate > 0 ? cost.operations / (1e9 * rate) : 0;
}

// Two products of two operations for each position seen, in every layer.
double attention_operations(const ModelCosts& model, double pairs) {
  return 4 * pairs * model.head_width() * model.whole().layers;
}

}  // namespace

PhaseCost prompt_cost(const ModelSpec& spec, ElementType kv_type, std::int32_t prompt_tokens) {
  const ModelCosts model(spec, kv_type);
  const double tokens = prompt_tokens;
  const RangeCosts layers = model.range(0, spec.num_layers, false);
  const RangeCosts whole = model.whole();
  PhaseCost cost;
  cost.num_steps = 1;
  cost.quantised = model.quantised();
  cost.weight_bytes = whole.bytes + whole.expert_bytes * model.experts_touched(tokens);
  cost.bytes = cost.weight_bytes;
  cost.operations = 2 * tokens * (layers.weights + layers.expert_weights * model.expert_share()) +
                    2 * (whole.weights - layers.weights) +
                    attention_operations(model, tokens * tokens / 2);
  return cost;
}

PhaseCost decode_cost(const ModelSpec& spec, ElementType kv_type, std::int32_t concurrency,
                      std::int32_t prompt_tokens, std::int32_t gen_tokens) {
  const ModelCosts model(spec, kv_type);
  const RangeCosts whole = model.whole();
  const double sequences = concurrency;
  const double context = prompt_tokens + 0.5 * gen_tokens;
  const double steps = gen_tokens;
  const double windowed = std::min(context, std::max(1.0, model.window()));
  PhaseCost cost;
  cost.num_steps = steps;
  cost.quantised = model.quantised();
  cost.weight_bytes = whole.bytes + whole.expert_bytes * model.experts_touched(sequences);
  cost.bytes = steps * (cost.weight_bytes + sequences * (whole.kv_bytes_full * context +
                                                         whole.kv_bytes_windowed * windowed));
  cost.operations = steps * sequences *
                    (2 * (whole.weights + whole.expert_weights * model.expert_share()) +
                     attention_operations(model, context));
  return cost;
}

double product_gops(const PhaseCost& cost, const Ceilings& ceilings) {
  if (cost.quantised) return ceilings.int8_gops;
  return std::max(ceilings.bf16_gflops, ceilings.float_gflops);
}

double ceiling_seconds(const PhaseCost& cost, const Ceilings& ceilings) {
  return std::max(reading_seconds(cost, ceilings), product_seconds(cost, ceilings));
}

bool is_bound_by_reading(const PhaseCost& cost, const Ceilings& ceilings) {
  return reading_seconds(cost, ceilings) >= product_seconds(cost, ceilings);
}

}  // namespace tandem
