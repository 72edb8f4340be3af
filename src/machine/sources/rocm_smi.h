#pragma once

#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

// rocm-smi's lists ("GPU[0] : Card Series: ..."): names, bus addresses, memory of AMD cards.
Status read_rocm_smi(std::string_view text, SurveyWriter& writer);

}  // namespace tandem
