#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan/sketch.h"
#include "plan/time_model.h"

namespace tandem {

// What the times of decode steps (decode_time.h) and of prompts (prefill_time.h) have in common:
// one division of a model on a machine, what its parts cost there, and what lies between them.
// Refers to what it is given.
class TimeTerms {
 public:
  TimeTerms(const ModelCosts& model, const Sketch& sketch, const Bench& bench,
            const Workload& workload);

  const ModelCosts& model() const { return model_; }
  const Sketch& sketch() const { return sketch_; }
  const Bench& bench() const { return bench_; }
  const EngineProfile& engine() const { return *bench_.engine; }
  const Workload& workload() const { return workload_; }
  // Whose constants stand for the whole: the first GPU's, else the first device's. A processor that
  // holds some layers beside GPUs comes first.
  const BackendProfile& leading() const { return leading_; }
  const std::vector<std::size_t>& all_devices() const { return all_; }

  RangeCosts costs_of(const StageSketch& stage) const;
  // The device while all of `active` work: processors read one memory by turns, each in proportion
  // to what it reads alone. One whose cores fill the memory's bus stands for several, too.
  DeviceRates while_active(std::size_t index, const std::vector<std::size_t>& active) const;
  // Of the stage's experts, what its device `index` has to do for `tokens` tokens.
  double expert_share(const StageSketch& stage, std::size_t index, double tokens) const;
  // Launches of a layer beside a plain one's: more kernels where tokens are routed to experts or
  // attention is linear.
  double layer_factor() const;
  double host_s() const;

  // One all-reduce of the states of `tokens` tokens in the stage's group; the slowest wire inside
  // sets it. software_s: what it costs beside the wire.
  AllReduceTime reduction(const StageSketch& stage, double tokens) const;
  double reduction_software_s() const;
  // Seconds to hand the states of `tokens` tokens from one stage's first device to the next one's.
  double hop_s(const StageSketch& from, const StageSketch& to, double tokens) const;
  // Seconds of the stage's part of the output matrix for `batch` tokens, while all of `active`
  // work.
  double output_s(const StageSketch& stage, double batch,
                  const std::vector<std::size_t>& active) const;

 private:
  const ModelCosts& model_;
  const Sketch& sketch_;
  const Bench& bench_;
  const Workload& workload_;
  const BackendProfile& leading_;
  std::vector<std::size_t> all_;  // of all stages
};

// The constants as for TimeTerms::leading().
const BackendProfile& leading_backend(const Sketch& sketch, const Bench& bench);

// Seconds of the part `share` of the dense work of `costs` and `expert_share` of its experts'.
// work(costs): the seconds of all of it.
template <typename Work>
double part_s(const RangeCosts& costs, double share, double expert_share, const Work& work) {
  if (costs.expert_weights <= 0 || share == expert_share) return share * work(costs);
  RangeCosts dense = costs;
  dense.expert_bytes = dense.expert_weights = 0;
  RangeCosts experts;
  experts.expert_bytes = costs.expert_bytes;
  experts.expert_weights = costs.expert_weights;
  return share * work(dense) + expert_share * work(experts);
}

}  // namespace tandem
