#pragma once

#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

// `nvidia-smi -q -x` (DTD v10 to v13). Expands no entities; refuses truncated XML.
Status read_nvidia_smi_xml(std::string_view text, SurveyWriter& writer);

// `nvidia-smi -q`, the same report as indented text.
Status read_nvidia_smi_text(std::string_view text, SurveyWriter& writer);

// The table that `nvidia-smi` prints without arguments: names (cut short), addresses, power,
// temperature and memory.
Status read_nvidia_smi_table(std::string_view text, SurveyWriter& writer);

// What nvidia-smi prints instead of its table where the driver does not answer: "Failed to
// initialize NVML: Driver/library version mismatch".
void read_nvidia_smi_failure(std::string_view text, SurveyWriter& writer);

// `nvidia-smi -L`: names and UUIDs by index.
Status read_nvidia_smi_list(std::string_view text, SurveyWriter& writer);

}  // namespace tandem
