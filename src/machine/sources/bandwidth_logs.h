#pragma once

#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

// CUDA sample p2pBandwidthLatencyTest: grants, bandwidth with and without P2P, latency.
Status read_p2p_test(std::string_view text, SurveyWriter& writer);

// nvbandwidth: bandwidth from GPU to GPU.
Status read_nvbandwidth(std::string_view text, SurveyWriter& writer);

// nccl-tests: only the GPUs it ran on; its bus bandwidth is of the whole ring, not of one link.
Status read_nccl_test(std::string_view text, SurveyWriter& writer);

}  // namespace tandem
