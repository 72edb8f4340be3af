#pragma once

#include <string>
#include <vector>

#include "app/bench/bench_session.h"
#include "machine/machine.h"
#include "model/model_spec.h"
#include "plan/plan.h"

namespace tandem {

// The devices of `machine`, this one, that are measured. `auto` on a machine without GPUs and with
// one NUMA node, where there would be nothing to compare, gives two devices of half of its cores
// each.
Result<std::vector<MachineDevice>> bench_devices(const ModelOptions& options,
                                                 const Machine& machine);

struct BenchPlans {
  std::vector<Plan> plans;
  std::vector<std::string> notes;  // what does not fit
};

// One device first, or where it has no room for the model the pipeline of the fewest that have;
// then the setups that `plans` names or, for `auto`: tensor groups and pipelines of 2, 4, ... and
// all devices, and stages of two devices from four devices on, as far as they fit. context_tokens:
// of one sequence. Errors: an unknown name, a plan of that name that does not fit, no plan that
// does.
Result<BenchPlans> bench_plans(const ModelSpec& spec, const std::vector<MachineDevice>& devices,
                               const BenchOptions& options, std::int64_t context_tokens);

// Is there memory for all of `plans` beside each other, on each GPU and in half of what the host
// has free?
bool fit_at_once(const std::vector<const Plan*>& plans, const std::vector<MachineDevice>& devices);

// The fraction of the model's work that each rank has by the weights it holds; with_output: with
// the output matrix, which a prompt passes only once.
std::vector<double> work_fractions(const ModelSpec& spec, const Plan& plan, bool with_output);

}  // namespace tandem
