#pragma once

#include <nlohmann/json_fwd.hpp>

#include "app/bench/bench_report.h"
#include "app/bench/kernel_survey.h"
#include "base/result.h"
#include "model/model_spec.h"
#include "plan/engine_profile.h"

namespace tandem {

// The profile of the engine "tandem" with the constants of processors that measurements of kernels
// and links give (kernel_survey.h): those of data/engines.json where they give none, and for
// processors where request.devices is empty. Blocks as survey_kernels() does.
Result<EngineProfile> calibrated_engine(const KernelSurveyRequest& request);

// GPUs: what they read and compute was measured, what Tandem makes of it is told by the report's
// row of one of them (or of as few as have room) with the fewest sequences, its model's types of
// weights and sizes included: the shares of reading (decoding) and of products (its prompt) that it
// reached, the time of a step in which no rank computes, and what a reduction takes beside its
// link. No row of several devices has a part in it.
void fit_gpus(const ModelSpec& spec, const BenchReport& report, EngineProfile& engine);

// Two figures that kernels alone do not tell, from the report's row of one device with the fewest
// sequences: the time of a step in which no rank computes (making the step, waking ranks, handing
// over logits, choosing a token), and how much longer arithmetic takes in the layers of a model, as
// its prompt shows (smaller matrices, colder caches). The latter lengthens every type's alike.
void fit_to_rows(const ModelSpec& spec, const BenchReport& report, EngineProfile& engine);

// {"machine", "engines"}: what plan/calibration.h reads. report.calibrated is set.
nlohmann::json calibration_json(const BenchReport& report);

}  // namespace tandem
