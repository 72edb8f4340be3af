#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/survey_writer.h"

namespace tandem {

// One GPU of `nvidia-smi -q`, flattened: "pci/replay_counter" -> "0". XML element names as they
// are; headings of the plain text in lower case with '_' for blanks.
struct SmiGpuFields {
  std::string bus_id;
  std::map<std::string, std::string, std::less<>> values;
  std::vector<std::string> active_reasons;  // names without their "clocks_event_reason_"
  std::vector<GpuProcess> processes;
};

// A whole report, whichever way it was written.
struct SmiReport {
  std::optional<std::string> driver_version;
  std::optional<std::string> cuda_version;
  std::optional<std::string> timestamp;
  std::vector<SmiGpuFields> gpus;
};

// Enters a report. Errors: no GPU in it, a bus id that is none, a different list of GPUs than an
// earlier report gave (two machines' recordings mixed).
Status enter_smi_report(const SmiReport& report, SurveyWriter& writer);

}  // namespace tandem
