#include "fleet/config_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/units.h"
#include "plan/device_rates.h"

namespace tandem {
namespace {

constexpr std::int64_t kLongestMs = std::int64_t{30} * 24 * 3600 * 1000;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;
constexpr std::size_t kQuotedLength = 60;

struct Unit {
  std::string_view name;
  double bytes;
};
constexpr Unit kUnits[] = {
    {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0},
    {"kB", 1e3},     {"MB", 1e6},        {"GB", 1e9},           {"TB", 1e12}};

std::optional<std::int64_t> bytes_of_text(std::string_view text) {
  double number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const Unit& known : kUnits) {
    if (unit != known.name) continue;
    const double bytes = number * known.bytes;
    if (bytes > static_cast<double>(kMostBytes)) return std::nullopt;
    return static_cast<std::int64_t>(std::llround(bytes));
  }
  return std::nullopt;
}

// Fit for a line of a terminal.
std::string quoted(std::string_view text) {
  std::string out(text.substr(0, kQuotedLength));
  for (char& letter : out) {
    if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) letter = '?';
  }
  return fmt::format("\"{}{}\"", out, text.size() > kQuotedLength ? "..." : "");
}

}  // namespace

void ConfigErrors::add(int line, std::string what, std::string expected, std::string got) {
  errors_.push_back({line, malformed(fmt::format("{}:{}", path_, line), std::move(what),
                                     std::move(expected), std::move(got))});
}

std::vector<Error> ConfigErrors::sorted() const {
  std::vector<Entry> entries = errors_;
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.line < b.line; });
  std::vector<Error> out;
  for (Entry& entry : entries) out.push_back(std::move(entry.error));
  return out;
}

const toml::node* ConfigTable::node(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  return table_.get(key);
}

std::vector<std::string> ConfigTable::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : table_) out.emplace_back(key.str());
  return out;
}

int ConfigTable::line_of(std::string_view key) const {
  const toml::node* found = table_.get(key);
  return found == nullptr ? line() : static_cast<int>(found->source().begin.line);
}

void ConfigTable::wrong(std::string_view key, std::string expected, std::string got) {
  errors_.add(line_of(key), fmt::format("{}: wrong value of `{}`", title_, key),
              std::move(expected), std::move(got));
}

void ConfigTable::add_error(int line, std::string what, std::string expected, std::string got) {
  errors_.add(line, fmt::format("{}: {}", title_, what), std::move(expected), std::move(got));
}

void ConfigTable::read(std::string_view key, std::string& slot) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  const auto value = found->value_exact<std::string>();
  if (!value || value->empty() || value->find('\0') != std::string::npos) {
    return wrong(key, "text, not empty", describe(*found));
  }
  slot = *value;
}

void ConfigTable::read(std::string_view key, bool& slot) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  const auto value = found->value_exact<bool>();
  if (!value) return wrong(key, "true or false", describe(*found));
  slot = *value;
}

void ConfigTable::read(std::string_view key, double& slot, double low, double high) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  const auto value = found->is_number() ? found->value<double>() : std::nullopt;
  if (!value || !(*value >= low && *value <= high)) {
    return wrong(key, fmt::format("a number from {} to {}", low, high), describe(*found));
  }
  slot = *value;
}

std::optional<std::int64_t> ConfigTable::integer(std::string_view key, std::int64_t low,
                                                 std::int64_t high) {
  const toml::node* found = node(key);
  if (found == nullptr) return std::nullopt;
  const auto value = found->value_exact<std::int64_t>();
  if (value && *value >= low && *value <= high) return value;
  wrong(key, fmt::format("a whole number from {} to {}", low, high), describe(*found));
  return std::nullopt;
}

void ConfigTable::read(std::string_view key, std::vector<std::string>& slot) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  const toml::array* array = found->as_array();
  if (array == nullptr) return wrong(key, "an array of texts", describe(*found));
  std::vector<std::string> texts;
  for (const toml::node& element : *array) {
    const auto value = element.value_exact<std::string>();
    if (!value || value->empty() || value->find('\0') != std::string::npos) {
      return wrong(key, "an array of texts, none empty", describe(element));
    }
    texts.push_back(*value);
  }
  slot = std::move(texts);
}

void ConfigTable::read_seconds(std::string_view key, std::int64_t& slot_ms, std::int64_t low_ms) {
  double seconds = static_cast<double>(slot_ms) / 1000;
  read(key, seconds, static_cast<double>(low_ms) / 1000, static_cast<double>(kLongestMs) / 1000);
  slot_ms = std::llround(seconds * 1000);
}

void ConfigTable::read_bytes(std::string_view key, std::int64_t& slot) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  std::optional<std::int64_t> bytes = found->value_exact<std::int64_t>();
  if (const auto text = found->value_exact<std::string>()) bytes = bytes_of_text(*text);
  if (!bytes || *bytes < 0 || *bytes > kMostBytes) {
    return wrong(key, "bytes, or a text such as \"512MiB\" or \"1.5GiB\"", describe(*found));
  }
  slot = *bytes;
}

void ConfigTable::table(std::string_view key, const std::function<void(ConfigTable&)>& body) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  if (!found->is_table()) {
    return wrong(key, fmt::format("a table [{}]", key), describe(*found));
  }
  ConfigTable reader(*found->as_table(), fmt::format("[{}]", key), errors_);
  body(reader);
  reader.finish();
}

void ConfigTable::tables(std::string_view key, const std::function<void(ConfigTable&)>& body) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  if (!found->is_array() || !found->as_array()->is_array_of_tables()) {
    return wrong(key, fmt::format("tables [[{}]]", key), describe(*found));
  }
  for (const toml::node& element : *found->as_array()) {
    ConfigTable reader(*element.as_table(), fmt::format("[[{}]]", key), errors_);
    body(reader);
    reader.finish();
  }
}

void ConfigTable::finish() {
  for (const auto& [key, value] : table_) {
    const std::string_view name = key.str();
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    errors_.add(static_cast<int>(key.source().begin.line),
                fmt::format("{}: unknown key {}{}", title_, quoted(name), nearest_of(name, known_)),
                fmt::format("{}", fmt::join(known_, ", ")));
  }
}

std::string describe(const toml::node& node) {
  if (const auto* text = node.as_string()) return quoted(text->get());
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* value = node.as_boolean()) return value->get() ? "true" : "false";
  if (node.is_array()) return "an array";
  if (node.is_table()) return "a table";
  return "a date or time";
}

std::string nearest_of(std::string_view name, const std::vector<std::string>& names) {
  if (name.size() > kQuotedLength) return {};  // no slip of the fingers
  const std::string nearest = nearest_names(name, names, 1);
  return nearest.empty() ? nearest : fmt::format("; the nearest is `{}`", nearest);
}

}  // namespace tandem
