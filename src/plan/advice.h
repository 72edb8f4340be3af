#pragma once

#include <functional>
#include <string>
#include <vector>

#include "plan/search.h"

namespace tandem {

// A change and what it is predicted to bring.
struct Advice {
  std::string what;  // "NVLink bridges between the cards"
  double gain = 0;   // of speed over a whole request: 0.25 is a quarter faster
  double decode_tokens_per_s = 0;
  double prefill_tokens_per_s = 0;
};

// The same model in another quantisation, largest first; empty where only a file is known.
struct Alternative {
  std::string name;  // "Q4_K_M"
  ModelSpec spec;
};

// What would make the recommended plan faster, each tried by a search of its own, the best first;
// gains below one per cent are left out.
std::vector<Advice> what_would_help(const ModelSpec& spec, const Machine& machine,
                                    const EngineProfile& engine, const SearchRequest& request,
                                    const Plan& recommended,
                                    const std::vector<Alternative>& alternatives);

// The plan with layers on the host's processor, where the machine has one and GPUs alone do not
// hold the model.
std::optional<Plan> offload_plan(const ModelSpec& spec, const Machine& machine,
                                 const EngineProfile& engine, const SearchRequest& request);

// What would make a model fit that does not: less context, a smaller cache type, other
// quantisations, layers on the processor, more of the same cards, another split; each tried.
// Empty: none of them would.
std::vector<std::string> what_would_fit(const ModelSpec& spec, const Machine& machine,
                                        const EngineProfile& engine, const SearchRequest& request,
                                        const std::vector<Alternative>& alternatives);

// Seconds of one request under a plan's prediction.
double request_seconds(const Plan& plan, const Workload& workload);

}  // namespace tandem
