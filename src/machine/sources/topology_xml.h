#pragma once

#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

// lstopo's XML (hwloc 1 to 3): CPU, cores, memory, NUMA nodes, the PCI tree with link bandwidths.
Status read_lstopo_xml(std::string_view text, SurveyWriter& writer);

// NCCL's topology XML: NUMA nodes, switches and GPUs with link speed and width.
Status read_nccl_xml(std::string_view text, SurveyWriter& writer);

}  // namespace tandem
