#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "device/logit_picker.h"
#include "engine/sampling_params.h"

namespace tandem {

// Repetition, presence and frequency penalties over the last tokens.
class Penalties {
 public:
  explicit Penalties(const PenaltyParams& params) : params_(params) {}

  // history: all tokens so far, of which the last has just been added.
  void accept(std::span<const std::int32_t> history);

  // For each token seen in the window (llama-sampling.cpp, penalties): the logit is divided by
  // `repeat` if positive, else multiplied; then lowered by count * frequency + presence.
  // logits: [vocabulary_size], changed in place; tokens outside are ignored.
  void apply(std::span<float> logits) const;

  // The same as changes by token, with what is there already before it.
  void add_to(std::map<std::int32_t, LogitChange>& changes) const;

  bool is_off() const;

 private:
  float lower_of(std::int32_t count) const {
    return static_cast<float>(count) * params_.frequency + params_.presence;
  }

  PenaltyParams params_;
  std::unordered_map<std::int32_t, std::int32_t> counts_;  // within the window, none 0
};

}  // namespace tandem
