#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>

#include "base/result.h"

namespace tandem {

// Reads the members of one JSON object that comes from outside. The first member of the wrong type
// is kept as error(); reading goes on with "unknown" in its place, so that callers check once.
class JsonReader {
 public:
  // `where` names the object in messages. `object` must outlive the reader.
  JsonReader(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {
    if (!object_.is_object()) fail("", "an object");
  }

  // The member, or nullopt where it is absent or null. T: bool, int, int64_t, double, string.
  template <typename T>
  std::optional<T> get(const char* name) {
    const nlohmann::json* value = find(name);
    if (value == nullptr) return std::nullopt;
    if constexpr (std::is_same_v<T, bool>) {
      if (value->is_boolean()) return value->get<bool>();
      fail(name, "true or false");
    } else if constexpr (std::is_integral_v<T>) {
      if (value->is_number_integer() && fits<T>(*value)) return value->get<T>();
      fail(name, "a whole number that fits");
    } else if constexpr (std::is_same_v<T, double>) {
      if (value->is_number()) return value->get<double>();
      fail(name, "a number");
    } else {
      if (value->is_string()) return value->get<std::string>();
      fail(name, "text");
    }
    return std::nullopt;
  }

  // The member array, or nullptr where it is absent or null.
  const nlohmann::json* array(const char* name) {
    const nlohmann::json* value = find(name);
    if (value != nullptr && !value->is_array()) {
      fail(name, "a list");
      return nullptr;
    }
    return value;
  }

  const nlohmann::json* find(const char* name) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  void fail(const std::string& name, std::string expected) {
    if (!status_.ok()) return;
    const std::string where = name.empty() ? where_ : where_ + "." + name;
    const nlohmann::json* value = name.empty() ? &object_ : find(name.c_str());
    status_ = malformed(where, "wrong value", std::move(expected),
                        value == nullptr ? "nothing" : value->type_name());
  }

  const std::string& where() const { return where_; }
  const Status& status() const { return status_; }

 private:
  template <typename T>
  static bool fits(const nlohmann::json& value) {
    if (value.is_number_unsigned() &&
        value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<T>::max()))
      return false;
    return value.get<std::int64_t>() >= std::numeric_limits<T>::min();
  }

  const nlohmann::json& object_;
  std::string where_;
  Status status_;
};

}  // namespace tandem
