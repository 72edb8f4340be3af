#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/http/api_error.h"

namespace tandem {

using Json = nlohmann::ordered_json;

// Nesting of a request's JSON beyond which it is refused.
inline constexpr std::size_t kMaxJsonDepth = 128;
// Some 0.3 s of parsing: one object of 10,000 keys.
inline constexpr std::size_t kMaxJsonKeyComparisons = 50'000'000;

// A request's body as a JSON object, or why it is none.
std::variant<Json, ApiError> parse_body(std::string_view body);

// Reads a JSON object's fields into variables. Fields that are absent or null leave them as they
// are; the first one of a wrong type or out of range is kept as the error, and names itself.
// Unknown fields are nobody's concern.
class FieldReader {
 public:
  // `object` must be an object and outlive this.
  explicit FieldReader(const Json& object) : object_(object) {}

  void read(std::string_view name, bool& out);
  void read(std::string_view name, std::string& out);
  void read(std::string_view name, std::int32_t& out, std::int64_t low, std::int64_t high);
  void read(std::string_view name, float& out, double low, double high);
  // Any integer; negative ones mean what their bits mean.
  void read(std::string_view name, std::optional<std::uint64_t>& out);
  // A string or a list of at most `most` strings.
  void read(std::string_view name, std::vector<std::string>& out, std::size_t most);

  // The field, or null where it is absent or null.
  const Json* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }

  void fail(std::string_view name, std::string message);
  const std::optional<ApiError>& error() const { return error_; }

 private:
  const Json& object_;
  std::optional<ApiError> error_;
};

}  // namespace tandem
