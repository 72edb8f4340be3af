#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "app/model_options.h"
#include "gguf/gguf_file.h"
#include "machine/machine.h"
#include "model/model_spec.h"
#include "plan/engine_profile.h"
#include "runtime/runtime.h"
#include "text/tokenizer.h"

namespace tandem {

// A model opened for a command: its file and what is known of it. No device is touched yet.
struct OpenedModel {
  std::shared_ptr<const GgufFile> file;
  ModelSpec spec;
};

// Opens the file of -m, or the embedded model, saying so on standard error.
Result<std::shared_ptr<const GgufFile>> open_model_file(const std::string& path);
Result<OpenedModel> open_model(const std::string& path);

// This computer, with what `bench --calibrate` measured of its GPUs. Devices of cores share a model
// by their number of cores, whatever was measured of them.
struct LocalMachine {
  Machine machine;
  std::optional<EngineProfile> engine;  // where GPUs were measured
};
Result<LocalMachine> local_machine();

// The devices of --devices on this machine.
Result<std::vector<MachineDevice>> devices_of(const ModelOptions& options, const Machine& machine);

// The plan that the flags ask for: from --plan, or chosen for the devices.
// max_output_rows: rows of logits that a step may want; 0: one a sequence.
Result<Plan> make_plan(const ModelSpec& spec, const ModelOptions& options,
                       std::int32_t max_output_rows = 0);

// Opens the plan's devices, loads the weights (with a progress bar on a terminal) and starts the
// ranks. Blocks. runtime_options: on_load_progress is set here.
Result<std::unique_ptr<Runtime>> start_runtime(const OpenedModel& model, Plan plan,
                                               const ModelOptions& options,
                                               RuntimeOptions runtime_options = {});

}  // namespace tandem
