#include "text/jinja/py_string.h"
#include "text/utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace tandem::jinja {
namespace {

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

bool in_set(std::string_view character, const std::optional<std::string_view>& chars) {
  if (!chars) return is_space(code_point_of(character));
  for (const auto allowed : code_points(*chars)) {
    if (allowed == character) return true;
  }
  return false;
}

std::size_t last_code_point_start(std::string_view text) {
  std::size_t start = text.size() - 1;
  for (int back = 0; back < 3 && start > 0 && is_continuation(text[start]); ++back) --start;
  // A stray continuation byte stands alone.
  return start + code_point_bytes(text, start) == text.size() ? start : text.size() - 1;
}

std::vector<std::string_view> split_whitespace(std::string_view text, std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  text = strip(text, true, false);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<std::int64_t>(parts.size()) == max_splits) {
      parts.push_back(strip(text, false, true));
      break;
    }
    std::size_t end = 0;
    while (end < text.size() && !is_space(code_point_of(text.substr(end)))) {
      end += code_point_bytes(text, end);
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), true, false);
  }
  return parts;
}

std::vector<std::string_view> split_whitespace_from_right(std::string_view text,
                                                          std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  text = strip(text, false, true);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<std::int64_t>(parts.size()) == max_splits) {
      parts.push_back(strip(text, true, false));
      break;
    }
    std::size_t start = text.size();
    while (start > 0) {
      const std::size_t before = last_code_point_start(text.substr(0, start));
      if (is_space(code_point_of(text.substr(before)))) break;
      start = before;
    }
    parts.push_back(text.substr(start));
    text = strip(text.substr(0, start), false, true);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_by(std::string_view text, std::string_view separator,
                                       std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  std::size_t start = 0;
  while (max_splits < 0 || static_cast<std::int64_t>(parts.size()) < max_splits) {
    const std::size_t found = find_text(text, separator, start);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(start, found - start));
    start = found + separator.size();
  }
  parts.push_back(text.substr(start));
  return parts;
}

}  // namespace

std::size_t code_point_bytes(std::string_view text, std::size_t offset) {
  return static_cast<unsigned char>(text[offset]) < 0x80 ? 1 : read_utf8(text, offset).num_bytes;
}

std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> all;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = code_point_bytes(text, at);
    all.push_back(text.substr(at, length));
    at += length;
  }
  return all;
}

std::size_t num_code_points(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += code_point_bytes(text, at)) ++count;
  return count;
}

char32_t code_point_of(std::string_view character) {
  const Utf8Char read = read_utf8(character, 0);
  if (read.state == Utf8Char::State::kValid) return read.code_point;
  return static_cast<unsigned char>(character[0]);
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool is_alphabetic(char32_t c) {
  if (c < 0x80) return (c | 32) >= 'a' && (c | 32) <= 'z';
  return c == 0xAA || c == 0xB5 || c == 0xBA ||
         (c >= 0xC0 && c != 0xD7 && c != 0xF7 && !is_space(c) && !(c >= 0x2000 && c < 0x2C00) &&
          !(c >= 0x3000 && c < 0x3005) && !(c >= 0xE000 && c < 0xF900) &&
          !(c >= 0xFF00 && c < 0xFF21) && c < 0x1F000);
}

std::string_view strip(std::string_view text, bool left, bool right,
                       std::optional<std::string_view> chars) {
  while (left && !text.empty()) {
    const std::size_t length = code_point_bytes(text, 0);
    if (!in_set(text.substr(0, length), chars)) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    const std::size_t start = last_code_point_start(text);
    if (!in_set(text.substr(start), chars)) break;
    text = text.substr(0, start);
  }
  return text;
}

std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  // memmem is linear in the worst case, std::string_view::find is not.
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (!found) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t count_text(std::string_view text, std::string_view needle) {
  if (needle.empty()) return num_code_points(text) + 1;
  std::size_t count = 0;
  for (std::size_t at = find_text(text, needle); at != std::string_view::npos;
       at = find_text(text, needle, at + needle.size())) {
    ++count;
  }
  return count;
}

std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator,
                                    std::int64_t max_splits, bool from_right) {
  if (!separator) {
    return from_right ? split_whitespace_from_right(text, max_splits)
                      : split_whitespace(text, max_splits);
  }
  if (!from_right || max_splits < 0) return split_by(text, *separator, max_splits);
  std::vector<std::string_view> parts;
  while (static_cast<std::int64_t>(parts.size()) < max_splits) {
    const std::size_t found = text.rfind(*separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(found + separator->size()));
    text = text.substr(0, found);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  const auto ends_line = [](char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
  };
  std::vector<std::string_view> lines;
  std::size_t start = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = code_point_bytes(text, at);
    if (!ends_line(code_point_of(text.substr(at)))) {
      at += length;
      continue;
    }
    if (text.substr(at, 2) == "\r\n") length = 2;
    lines.push_back(text.substr(start, at - start + (keep_ends ? length : 0)));
    at += length;
    start = at;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

Result<std::string> replace_text(Budget& budget, std::string_view text, std::string_view from,
                                 std::string_view to, std::int64_t max_replacements) {
  TANDEM_TRY_STATUS(budget.spend_reading(text.size()));
  std::size_t count = count_text(text, from);
  if (max_replacements >= 0) count = std::min(count, static_cast<std::size_t>(max_replacements));
  TANDEM_TRY_STATUS(budget.allocate(count + 1, to.size() + 1));
  TANDEM_TRY_STATUS(budget.allocate(text.size()));
  std::string result;
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (from.empty()) {  // between all characters, as Python does
      result += to;
      const std::size_t length = at < text.size() ? code_point_bytes(text, at) : 0;
      result += text.substr(at, length);
      at += length;
      continue;
    }
    const std::size_t found = find_text(text, from, at);
    result.append(text, at, found - at).append(to);
    at = found + from.size();
  }
  return result.append(text.substr(at));
}

}  // namespace tandem::jinja
