#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/advice.h"
#include "plan/plan.h"

namespace tandem {

// Everything that `tandem plan` says, as values; text and page are views of it.
struct PlanReport {
  std::string model;    // "Llama 3 70B, Q4_K_M, 39.6 GiB"
  std::string machine;  // "2x RTX 3090"
  std::string engine;
  Workload workload;
  std::string objective = "latency";                // what plans are ordered by
  std::map<std::string, std::string> device_names;  // "RTX 3090" by "cuda:0", where known
  std::vector<Plan> plans;                          // the first is recommended where it fits
  std::vector<Advice> help;
  std::vector<std::string> would_fit;
  std::optional<Plan> offload;  // where nothing fits: with layers on the processor
  std::vector<std::string> assumptions;
  std::vector<std::string> sources;  // where the machine's figures come from
};

// For people: the recommended plan with memory bars, the others in a table, where the ideal time
// goes (theoretical, typical, cause), what would help.
std::string plan_report_text(const PlanReport& report);

// One HTML page without scripts or links: memory bars, the stack of losses, the plans' speeds.
std::string plan_report_html(const PlanReport& report);

// One cause of lost time: its name, the fraction, what people can do about it.
struct LossLine {
  std::string cause;
  double fraction = 0;
  std::string why;
};
std::vector<LossLine> loss_lines(const ScalingReport& scaling);

// "2x RTX 3090 + RTX 4090 + host".
std::string describe_machine(const Machine& machine);

// {"cuda:0", "RTX 3090"}, ...: of the devices that have a name.
std::map<std::string, std::string> device_names(const Machine& machine);
// One of them; "" for a device without a name.
std::string name_of_device(const std::map<std::string, std::string>& names,
                           const std::string& device);

}  // namespace tandem
