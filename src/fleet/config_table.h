#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tandem {

// The errors of one file, each with its line.
class ConfigErrors {
 public:
  explicit ConfigErrors(std::string path) : path_(std::move(path)) {}

  void add(int line, std::string what, std::string expected = {}, std::string got = {});
  // By line; those of one line in the order found.
  std::vector<Error> sorted() const;
  bool empty() const { return errors_.empty(); }

 private:
  struct Entry {
    int line = 0;
    Error error;
  };
  std::string path_;
  std::vector<Entry> errors_;
};

// Reads one table of a configuration. Every key that is asked for is known; finish() reports the
// others. A value that cannot be taken is reported and leaves the slot as it was.
class ConfigTable {
 public:
  // title: "[[model]] kjv", for messages. The table and the errors must outlive this.
  ConfigTable(const toml::table& table, std::string title, ConfigErrors& errors)
      : table_(table), title_(std::move(title)), errors_(errors) {}

  bool has(std::string_view key) const { return table_.contains(key); }
  const toml::node* node(std::string_view key);  // nullptr where it is not there
  std::vector<std::string> keys() const;
  int line() const { return static_cast<int>(table_.source().begin.line); }
  int line_of(std::string_view key) const;  // the table's where the key is not there
  void set_title(std::string title) { title_ = std::move(title); }
  ConfigErrors& errors() { return errors_; }

  void read(std::string_view key, std::string& slot);  // not empty
  void read(std::string_view key, bool& slot);
  void read(std::string_view key, double& slot, double low, double high);
  // T: an integer type, or std::optional of one.
  template <typename T>
  void read(std::string_view key, T& slot, std::int64_t low, std::int64_t high) {
    if (const auto value = integer(key, low, high)) {
      if constexpr (requires { slot.emplace(*value); }) {
        slot = static_cast<typename T::value_type>(*value);
      } else {
        slot = static_cast<T>(*value);
      }
    }
  }
  void read(std::string_view key, std::vector<std::string>& slot);  // texts, none empty
  // Seconds, whole or not, as milliseconds. At most 30 days; at least `low_ms`.
  void read_seconds(std::string_view key, std::int64_t& slot_ms, std::int64_t low_ms = 1);
  // Bytes, or a text such as "512MiB", "1.5 GiB", "24GB".
  void read_bytes(std::string_view key, std::int64_t& slot);

  // Sub-tables; `body` gets a reader that is finished after it.
  void table(std::string_view key, const std::function<void(ConfigTable&)>& body);
  void tables(std::string_view key, const std::function<void(ConfigTable&)>& body);

  void wrong(std::string_view key, std::string expected, std::string got = {});
  void add_error(int line, std::string what, std::string expected = {}, std::string got = {});
  void finish();

 private:
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t low, std::int64_t high);

  const toml::table& table_;
  std::string title_;
  ConfigErrors& errors_;
  std::vector<std::string> known_;
};

// "text", "12", "true", "an array", ...: what stands there, for messages.
std::string describe(const toml::node& node);

// "; the nearest is `NAME`", or nothing where there is none.
std::string nearest_of(std::string_view name, const std::vector<std::string>& names);

}  // namespace tandem
