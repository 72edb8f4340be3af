#pragma once

#include <cstdint>
#include <memory>

#include "engine/answer_text.h"
#include "engine/generation.h"
#include "engine/sequence.h"

namespace tandem {

// What a request's answers have in common.
struct Generation {
  RequestId id = 0;
  GenerationRequest request;
  EventSink sink;
  std::int32_t num_open = 0;  // answers without their FinishEvent
  bool is_over = false;       // its last event is out
};

// One choice of a request in the making.
struct Answer {
  std::shared_ptr<Generation> generation;
  std::int32_t choice = 0;
  Sequence sequence;
  std::unique_ptr<TokenSampler> sampler;
  std::unique_ptr<TokenConstraint> constraint;  // may be null
  AnswerText text;
  HiddenPool hidden = {};
  std::int32_t max_tokens = 0;
  // The further choices of a request wait until the first one's prompt is in the cache.
  bool is_queued = false;
  bool is_doomed = false;  // over, but still in flight: removed when its step is done
  GenerationUsage usage = {};
  std::int64_t submitted_us = 0;
  std::int64_t started_us = 0;      // 0: no step yet
  std::int64_t first_token_us = 0;  // 0: none yet
  std::int64_t last_token_us = 0;
};

}  // namespace tandem
