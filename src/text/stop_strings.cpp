#include "text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace tandem {

Result<StopStrings> StopStrings::create(std::vector<std::string> strings) {
  std::erase_if(strings, [](const std::string& s) { return s.empty(); });
  if (strings.size() > kMaxStrings) {
    return invalid_argument("too many stop strings", "at most " + std::to_string(kMaxStrings),
                            std::to_string(strings.size()));
  }
  for (const std::string& string : strings) {
    if (string.size() > kMaxBytes) {
      return invalid_argument("stop string too long",
                              "at most " + std::to_string(kMaxBytes) + " bytes",
                              std::to_string(string.size()) + " bytes");
    }
  }
  return StopStrings(std::move(strings));
}

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {}

std::string StopStrings::push(std::string_view text) {
  if (stopped()) return {};
  held_ += text;
  for (std::size_t begin = 0; begin < held_.size(); ++begin) {
    const std::string_view rest = std::string_view(held_).substr(begin);
    std::optional<std::size_t> complete;
    bool may_become_one = false;
    for (std::size_t i = 0; i < strings_.size(); ++i) {
      if (rest.starts_with(strings_[i])) {
        if (!complete || strings_[i].size() < strings_[*complete].size()) complete = i;
      } else if (strings_[i].starts_with(rest)) {
        may_become_one = true;
      }
    }
    if (!complete && !may_become_one) continue;
    std::string out = held_.substr(0, begin);
    matched_ = complete;
    if (complete) {
      held_.clear();
    } else {
      held_.erase(0, begin);
    }
    return out;
  }
  return std::exchange(held_, {});
}

std::string StopStrings::flush() {
  return std::exchange(held_, {});
}

}  // namespace tandem
