#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampling_params.h"

namespace tandem {

// DRY, "don't repeat yourself" (p-e-w, text-generation-webui pull request 5677): where the last L
// tokens have stood before, the token that followed them then is lowered by
// multiplier * base^(L - allowed_length), for L of at least allowed_length. A sequence breaker in
// the text ends what counts as the last tokens.
class Dry {
 public:
  // The text of a token.
  using PieceOf = std::function<std::string(std::int32_t)>;

  Dry(const DryParams& params, PieceOf piece_of);

  // Takes the next token of the history.
  void accept(std::int32_t token);

  // history: all tokens accepted. logits: [vocabulary_size], changed in place; tokens outside are
  // ignored. Linear in the window.
  void apply(std::span<const std::int32_t> history, std::span<float> logits) const;

  bool is_off() const;

 private:
  DryParams params_;
  PieceOf piece_of_;
  std::size_t max_breaker_bytes_ = 0;
  std::string tail_;                   // the last max_breaker_bytes_ - 1 bytes of text
  std::size_t num_since_breaker_ = 0;  // tokens behind the one in which the last breaker ended
};

}  // namespace tandem
