#include "plan/prefill_time.h"

#include <algorithm>
#include <cmath>

#include "plan/device_work.h"

namespace tandem {
namespace {

// Launches and events of a part more, as comm/cuda/overlap.h reckons.
constexpr double kPartSeconds = 10e-6;

// What the two reductions of a layer add to its arithmetic. The products beside them are those
// that make their matrices: of attention's output and of the feed-forward's (tiles of experts are
// cut by how many pairs there are, so their sums stay whole).
double layer_reductions_s(const TimeTerms& terms, const StageSketch& stage, const RangeCosts& costs,
                          double tokens) {
  const ModelCosts& model = terms.model();
  const double sum = terms.reduction(stage, tokens).total_s() + terms.reduction_software_s();
  const BackendProfile& backend = *terms.bench().devices[stage.devices.front()].backend;
  const int parts = reduction_parts(tokens, model.hidden() * terms.engine().activation_bytes,
                                    backend.reduce_parts);
  if (parts < 2 || costs.layers <= 0) return 2 * sum;
  // Of `inputs` columns: the slowest device's part, which the others wait for.
  const auto product_s = [&](double inputs) {
    RangeCosts product;
    product.weights = inputs * model.hidden();
    product.bytes = product.weights * (costs.bytes - costs.output_bytes) /
                    std::max(1.0, costs.weights - costs.output_weights);
    double slowest = 0;
    for (std::size_t i = 0; i < stage.devices.size(); ++i) {
      const DeviceRates device = terms.while_active(stage.devices[i], terms.all_devices());
      slowest =
          std::max(slowest, stage.shares[i] * prefill_work_s(model, product, device, tokens, 0));
    }
    return slowest;
  };
  const auto added = [&](double inputs) {
    return unhidden_reduction_s(sum, product_s(inputs), parts) + (parts - 1) * kPartSeconds;
  };
  // An engine that gains nothing by parts would not make them.
  const auto best = [&](double inputs) { return std::min(sum, added(inputs)); };
  return best(model.head_width()) + (model.has_experts() ? sum : best(model.width()));
}

double prefill_turn(const TimeTerms& terms, const StageSketch& stage, double tokens,
                    double context) {
  const RangeCosts costs = terms.costs_of(stage);
  double slowest = 0;
  double launch = 0;
  for (std::size_t i = 0; i < stage.devices.size(); ++i) {
    const DeviceRates device = terms.while_active(stage.devices[i], terms.all_devices());
    const auto work = [&](const RangeCosts& part) {
      return prefill_work_s(terms.model(), part, device, tokens, context);
    };
    slowest = std::max(slowest,
                       part_s(costs, stage.shares[i], terms.expert_share(stage, i, tokens), work));
    launch = std::max(
        launch, device.backend->prefill_layer_us * 1e-6 * costs.layers * terms.layer_factor());
  }
  double reduce = 0;
  if (stage.devices.size() > 1) {
    reduce = costs.layers * layer_reductions_s(terms, stage, costs, tokens) +
             terms.leading().prefill_group_wait * slowest;
  }
  return slowest + launch + reduce;
}

double tokens_of_micro_batch(const TimeTerms& terms) {
  const EngineProfile& engine = terms.engine();
  if (terms.sketch().size() < 2) return engine.micro_batch_tokens;
  const std::int32_t asked = terms.workload().stage_micro_batch_tokens;
  return asked > 0 ? asked : engine.stage_micro_batch_tokens;
}

}  // namespace

int reduction_parts(double tokens, double row_bytes, int most_parts) {
  constexpr double kLeastBytes = 2 << 20;
  constexpr double kLeastTokens = 3 * 64;
  const double rows = std::max(kLeastTokens, std::ceil(kLeastBytes / std::max(1.0, row_bytes)));
  return std::clamp(static_cast<int>(tokens / rows), 1, std::max(1, most_parts));
}

double unhidden_reduction_s(double reduction_s, double product_s, int parts) {
  return reduction_s - std::min(reduction_s, product_s) * (1 - 1.0 / std::max(1, parts));
}

double prefill_seconds(const TimeTerms& terms) {
  const Workload& workload = terms.workload();
  const Sketch& sketch = terms.sketch();
  if (workload.prompt_tokens <= 0) return 0;
  const double prompt = static_cast<double>(workload.prompt_tokens);
  const double tokens = std::min(prompt, tokens_of_micro_batch(terms));
  const double batches = std::ceil(prompt / tokens);
  const double context = static_cast<double>(workload.depth_tokens) + prompt / 2;
  double pass = 0;
  double slowest = 0;
  double output = 0;
  for (std::size_t i = 0; i < sketch.size(); ++i) {
    // Of the last token alone.
    output = std::max(output, terms.output_s(sketch[i], 1, terms.all_devices()));
    double turn = prefill_turn(terms, sketch[i], tokens, context);
    slowest = std::max(slowest, turn);
    if (i > 0) turn += terms.hop_s(sketch[i - 1], sketch[i], tokens);
    pass += turn;
  }
  const double full = prompt / tokens;  // the last micro-batch may be short
  const double serial = full * pass;
  const double piped = pass + (full - 1) * slowest;
  const double reached = terms.leading().pipeline_overlap.value_or(terms.engine().pipeline_overlap);
  const double overlap = sketch.size() > 1 && batches > 1 ? reached : 0.0;
  return serial * (1 - overlap) + piped * overlap + output;
}

}  // namespace tandem
