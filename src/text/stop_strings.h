#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

// Looks for stop strings in text that comes in pieces. Text that may be the beginning of a stop
// string is held back until it is certain, so that what was given out never has to be taken back.
// The match that begins first wins; of those that begin at one place, the first that is complete,
// which is the shortest.
class StopStrings {
 public:
  // At most this many, and this many bytes each.
  static constexpr std::size_t kMaxStrings = 256;
  static constexpr std::size_t kMaxBytes = 4096;

  // Empty strings are ignored. Errors: kInvalidArgument beyond the limits above.
  static Result<StopStrings> create(std::vector<std::string> strings);

  // Takes the next text and returns what may be given out. Once stopped() it takes nothing more.
  std::string push(std::string_view text);
  // At the end of the text: returns what was held back, which was no stop string after all. Empty
  // if stopped().
  std::string flush();

  bool stopped() const { return matched_.has_value(); }
  // The string that was found; it was not given out, nor what followed it. Null unless stopped().
  const std::string* matched() const { return matched_ ? &strings_[*matched_] : nullptr; }
  std::size_t num_held_bytes() const { return held_.size(); }

 private:
  explicit StopStrings(std::vector<std::string> strings);

  std::vector<std::string> strings_;
  std::string held_;  // a proper prefix of some stop string, or empty
  std::optional<std::size_t> matched_;
};

}  // namespace tandem
