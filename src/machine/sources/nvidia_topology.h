#pragma once

#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

// `nvidia-smi topo -m`: what lies between each pair, CPU and NUMA affinity of each GPU.
Status read_topology_matrix(std::string_view text, SurveyWriter& writer);

// `nvidia-smi topo -p2p OPERATION`: OK, or why not (CNS, GNS, TNS, NS, DR, U).
Status read_peer_matrix(std::string_view text, SurveyWriter& writer);

// `nvidia-smi nvlink -s`: every link's speed, or that it is inactive.
Status read_nvlink_status(std::string_view text, SurveyWriter& writer);

}  // namespace tandem
