#pragma once

#include "machine/nvml_library.h"
#include "machine/survey_writer.h"

namespace tandem {

// Enters what the NVIDIA driver says of every GPU and pair. Functions that the driver lacks or
// refuses leave their facts unknown. A driver that does not answer is noted as host.driver_failure.
Status read_nvml(const NvmlApi& api, SurveyWriter& writer);

}  // namespace tandem
