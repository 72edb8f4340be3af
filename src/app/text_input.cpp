#include "app/text_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <numeric>
#include <sstream>

namespace tandem {
namespace {

Result<std::vector<std::int32_t>> parse_integers(const std::string& text, std::string_view what,
                                                 std::int64_t limit) {
  std::vector<std::int32_t> numbers;
  std::stringstream stream(text);
  for (std::string entry; std::getline(stream, entry, ',');) {
    const auto first = entry.find_first_not_of(" \t\n");
    const auto last = entry.find_last_not_of(" \t\n");
    if (first != std::string::npos) entry = entry.substr(first, last - first + 1);
    std::int32_t number = -1;
    const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
    if (error != std::errc() || end != entry.data() + entry.size() || number < 0 ||
        number >= limit) {
      return invalid_argument(fmt::format("not a {}", what), fmt::format("0 to {}", limit - 1),
                              "'" + entry + "'");
    }
    numbers.push_back(number);
  }
  if (numbers.empty()) return invalid_argument(fmt::format("an empty list of {}s", what));
  return numbers;
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  if (path == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return not_found("file cannot be opened", path);
  if (std::filesystem::is_directory(path)) {
    return invalid_argument("a folder instead of a file", "a text file", path);
  }
  std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (stream.bad()) return Error{ErrorCode::kIo, "file cannot be read", path, {}, {}};
  return text;
}

Result<std::vector<std::int32_t>> parse_token_list(const std::string& text,
                                                   std::int64_t vocabulary_size) {
  return parse_integers(text, "token id", vocabulary_size);
}

Result<std::vector<std::int32_t>> parse_positions(const std::string& text,
                                                  std::int32_t num_tokens) {
  if (text == "all") {
    std::vector<std::int32_t> all(static_cast<std::size_t>(num_tokens));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  TANDEM_TRY(auto positions, parse_integers(text, "position", num_tokens));
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  return positions;
}

}  // namespace tandem
