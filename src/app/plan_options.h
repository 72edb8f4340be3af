#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/machine.h"
#include "plan/advice.h"
#include "plan/engine_profile.h"
#include "plan/search.h"

namespace CLI {
class App;
}

namespace tandem {

// A model to plan for: from a file, or by name and quantisation.
struct ModelChoice {
  std::string path;
  std::string name;
  std::string quant = "q4_k_m";
};

struct ChosenModel {
  ModelSpec spec;
  std::string title;
  std::string source;
  bool runnable = true;
  std::vector<Alternative> alternatives;  // other quantisations, largest first
};

Result<ChosenModel> choose_model(const ModelChoice& choice);

// The machine to plan for: GPUs by name, a description in a file, or this computer.
struct MachineChoice {
  std::vector<std::string> gpus;
  std::string link;
  std::string path;
  std::string devices;  // of this computer; empty: all
};

struct ChosenMachine {
  Machine machine;
  std::optional<EngineProfile> calibrated;  // Tandem's constants, where they were measured on it
  std::vector<std::string> notes;           // where the figures come from
};

// This computer's CPU devices get the rates of its calibration; without one they are measured,
// which keeps all cores busy for some tenths of a second, unless GPUs do the work.
Result<ChosenMachine> choose_machine(const MachineChoice& choice);

// "none" to SplitMode::kNone; nullopt for "auto".
Result<std::optional<SplitMode>> split_named(const std::string& name);

// The whole file. kIo, kInvalidArgument where it cannot be written.
Status write_text_file(const std::string& path, const std::string& text);

}  // namespace tandem
