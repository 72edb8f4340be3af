#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "app/bench/ceiling_survey.h"
#include "machine/machine.h"
#include "plan/engine_profile.h"
#include "plan/plan.h"
#include "runtime/scaling_losses.h"

namespace tandem {

// One phase (a prompt, or decoding) of one setup: medians over undisturbed repetitions.
struct BenchPhase {
  double tokens_per_s = 0;
  double lowest = 0;  // over all repetitions
  double highest = 0;
  std::optional<double> predicted_tokens_per_s;
  std::int32_t num_repetitions = 0;  // warm-up left out
  std::int32_t num_disturbed = 0;
  // Of the time that the setup's devices together need at their ceilings (roofline: the slower of
  // reading weights and cache, and of products) over the time it took.
  double ceiling_fraction = 0;
  double intensity = 0;        // operations a byte, for the roofline plot
  double giga_operations = 0;  // per second
  RunTimes times;              // of the median repetition
  LossAccount account;
};

// One setup at one number of sequences.
struct BenchRow {
  std::string plan;
  std::int32_t num_devices = 1;
  std::vector<std::string> devices;
  Plan layout;  // as it was executed
  std::int32_t concurrency = 1;
  BenchPhase prefill;
  BenchPhase decode;
};

struct BenchReport {
  std::string model;
  std::string quantisation;
  std::string processor;  // of the host
  std::int32_t prompt_tokens = 0;
  std::int32_t gen_tokens = 0;
  std::vector<MachineDevice> devices;
  std::vector<Link> links;  // what lies between GPUs, as the machine says
  CeilingSurvey ceilings;
  std::vector<BenchRow> rows;               // per concurrency; one device first
  std::optional<EngineProfile> calibrated;  // constants that were measured on the way
  std::vector<std::string> notes;
};

// What the devices are: "2 x NVIDIA RTX A6000", or the processor.
std::string hardware_of(const BenchReport& report);
// {"ceilings", "rows", ...} of the command-line contract.
nlohmann::json bench_json(const BenchReport& report);
// The tables for people.
std::string bench_text(const BenchReport& report);
// One self-contained page: tables and plots as SVG, for screens light and dark and for paper.
std::string bench_page(const BenchReport& report);

// "cpu:1 is 21 % slower than the fastest" and the like: what lost most, largest first, in percent
// of the device time. "" where nothing is lost.
std::string describe_losses(const BenchPhase& phase);

}  // namespace tandem
