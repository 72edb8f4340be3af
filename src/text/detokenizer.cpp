#include "text/detokenizer.h"

#include <utility>

#include "text/utf8.h"

namespace tandem {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DecodeOptions options)
    : tokenizer_(tokenizer), options_(options) {}

std::string Detokenizer::piece_of(std::int32_t token) {
  std::string piece = tokenizer_.piece(token, options_.render_special);
  if (piece.empty() || !is_at_start_) return piece;
  is_at_start_ = false;
  const bool strips = options_.strip_space_prefix && tokenizer_.vocabulary().adds_space_prefix();
  if (strips && piece.front() == ' ') piece.erase(0, 1);
  return piece;
}

std::string Detokenizer::push(std::int32_t token) {
  pending_ += piece_of(token);
  std::string out;
  std::size_t i = 0;
  while (i < pending_.size()) {
    const Utf8Char c = read_utf8(pending_, i);
    if (c.state == Utf8Char::State::kIncomplete) break;
    if (c.state == Utf8Char::State::kValid) {
      out.append(pending_, i, c.num_bytes);
    } else {
      out += kReplacementUtf8;
    }
    i += c.num_bytes;
  }
  pending_.erase(0, i);
  return out;
}

std::string Detokenizer::flush() {
  const bool is_incomplete = !pending_.empty();
  pending_.clear();
  is_at_start_ = true;
  return is_incomplete ? std::string(kReplacementUtf8) : std::string();
}

}  // namespace tandem
