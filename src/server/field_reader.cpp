#include "server/field_reader.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "server/json_text.h"

namespace tandem {

std::variant<Json, ApiError> parse_body(std::string_view body) {
  if (json_depth(body) > kMaxJsonDepth) {
    return bad_request(fmt::format("the body nests more than {} levels deep", kMaxJsonDepth));
  }
  if (json_key_comparisons(body) > kMaxJsonKeyComparisons) {
    return bad_request("the body has objects of too many keys");
  }
  Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) return bad_request("the body is not valid JSON");
  if (!json.is_object()) return bad_request("the body must be a JSON object");
  return json;
}

const Json* FieldReader::find(std::string_view name) const {
  const auto found = object_.find(std::string(name));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void FieldReader::fail(std::string_view name, std::string message) {
  if (!error_) error_ = bad_request(std::move(message), std::string(name));
}

void FieldReader::read(std::string_view name, bool& out) {
  const Json* field = find(name);
  if (field == nullptr) return;
  if (!field->is_boolean()) return fail(name, fmt::format("'{}' must be true or false", name));
  out = field->get<bool>();
}

void FieldReader::read(std::string_view name, std::string& out) {
  const Json* field = find(name);
  if (field == nullptr) return;
  if (!field->is_string()) return fail(name, fmt::format("'{}' must be a string", name));
  out = field->get<std::string>();
}

void FieldReader::read(std::string_view name, std::int32_t& out, std::int64_t low,
                       std::int64_t high) {
  const Json* field = find(name);
  if (field == nullptr) return;
  double value = std::nan("");
  if (field->is_number()) value = field->get<double>();
  if (!(value >= double(low) && value <= double(high)) || value != std::floor(value)) {
    return fail(name, fmt::format("'{}' must be an integer from {} to {}", name, low, high));
  }
  out = static_cast<std::int32_t>(value);
}

void FieldReader::read(std::string_view name, float& out, double low, double high) {
  const Json* field = find(name);
  if (field == nullptr) return;
  double value = std::nan("");
  if (field->is_number()) value = field->get<double>();
  if (!(value >= low && value <= high)) {
    return fail(name, fmt::format("'{}' must be a number from {} to {}", name, low, high));
  }
  out = static_cast<float>(value);
}

void FieldReader::read(std::string_view name, std::optional<std::uint64_t>& out) {
  const Json* field = find(name);
  if (field == nullptr) return;
  if (field->is_number_unsigned()) {
    out = field->get<std::uint64_t>();
  } else if (field->is_number_integer()) {
    out = static_cast<std::uint64_t>(field->get<std::int64_t>());
  } else {
    fail(name, fmt::format("'{}' must be an integer", name));
  }
}

void FieldReader::read(std::string_view name, std::vector<std::string>& out, std::size_t most) {
  const Json* field = find(name);
  if (field == nullptr) return;
  std::vector<std::string> texts;
  if (field->is_string()) {
    texts.push_back(field->get<std::string>());
  } else if (field->is_array() && field->size() <= most) {
    for (const Json& entry : *field) {
      if (!entry.is_string()) return fail(name, fmt::format("'{}' must hold strings", name));
      texts.push_back(entry.get<std::string>());
    }
  } else {
    return fail(name,
                fmt::format("'{}' must be a string or a list of at most {} strings", name, most));
  }
  out = std::move(texts);
}

}  // namespace tandem
