#include "machine/core_list.h"

#include <algorithm>
#include <charconv>

namespace tandem {
namespace {

Result<int> parse_core(std::string_view text, std::string_view whole) {
  int core = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), core);
  if (text.empty() || status == std::errc::invalid_argument || end != text.data() + text.size())
    return invalid_argument("not a list of cores", "numbers and ranges such as 0-3",
                            "'" + std::string(whole) + "'");
  if (status != std::errc() || core < 0 || core > kMaxCore)
    return invalid_argument("no such core", "0 to " + std::to_string(kMaxCore),
                            "'" + std::string(text) + "'");
  return core;
}

Status append_range(std::string_view part, std::string_view whole, std::vector<int>& cores) {
  const std::size_t dash = part.find('-');
  TANDEM_TRY(const int first, parse_core(part.substr(0, dash), whole));
  int last = first;
  if (dash != std::string_view::npos) {
    TANDEM_TRY(last, parse_core(part.substr(dash + 1), whole));
  }
  if (last < first)
    return invalid_argument("a range of cores runs backwards", "the smaller number first",
                            "'" + std::string(part) + "'");
  for (int core = first; core <= last; ++core) cores.push_back(core);
  return {};
}

}  // namespace

Result<std::vector<int>> parse_core_list(std::string_view text, char separator) {
  std::vector<int> cores;
  std::string_view rest = text;
  while (true) {
    const std::size_t end = rest.find(separator);
    TANDEM_TRY_STATUS(append_range(rest.substr(0, end), text, cores));
    // Repeated wide ranges must not grow the list without bound.
    if (cores.size() > static_cast<std::size_t>(kMaxCore) + 1) break;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  std::sort(cores.begin(), cores.end());
  const auto twice = std::adjacent_find(cores.begin(), cores.end());
  if (twice != cores.end())
    return invalid_argument("a core is named twice", "each core once", std::to_string(*twice));
  return cores;
}

std::string format_core_list(const std::vector<int>& cores, char separator) {
  std::string text;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t end = i + 1;
    while (end < cores.size() && cores[end] == cores[end - 1] + 1) ++end;
    if (!text.empty()) text += separator;
    text += std::to_string(cores[i]);
    if (end - i > 1) text += "-" + std::to_string(cores[end - 1]);
    i = end;
  }
  return text;
}

}  // namespace tandem
