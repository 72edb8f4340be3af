#include "engine/grammar/schema_merge.h"

#include <algorithm>

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 32);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// One step of a pointer: %XX, ~1 and ~0 undone.
std::string unescaped(std::string_view step) {
  std::string text;
  for (std::size_t i = 0; i < step.size(); ++i) {
    const bool is_percent = step[i] == '%' && i + 2 < step.size() + 0 &&
                            hex_value(step[i + 1]) >= 0 && hex_value(step[i + 2]) >= 0;
    if (is_percent) {
      text += static_cast<char>(hex_value(step[i + 1]) * 16 + hex_value(step[i + 2]));
      i += 2;
    } else if (step[i] == '~' && i + 1 < step.size() &&
               (step[i + 1] == '0' || step[i + 1] == '1')) {
      text += step[++i] == '0' ? '~' : '/';
    } else {
      text += step[i];
    }
  }
  return text;
}

const Json* child_of(const Json& json, const std::string& name) {
  if (json.is_object()) {
    const auto found = json.find(name);
    return found == json.end() ? nullptr : &*found;
  }
  const bool is_index =
      json.is_array() && !name.empty() && name.size() < 8 &&
      std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_index) return nullptr;
  const std::size_t index = std::stoul(name);
  return index < json.size() ? &json[index] : nullptr;
}

bool is_annotation(const std::string& key) {
  static constexpr std::string_view kKeys[] = {
      "title", "description", "default",    "examples", "$id",       "$schema", "$comment",
      "$defs", "definitions", "deprecated", "readOnly", "writeOnly", "$anchor"};
  return std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
}

Json as_list(const Json& value) {
  return value.is_array() ? value : Json::array({value});
}

Result<Json> common_types(const Json& a, const Json& b) {
  Json common = Json::array();
  for (const Json& x : as_list(a)) {
    for (const Json& y : as_list(b)) {
      if (x == y) common.push_back(x);
      // Every integer is a number.
      if (x == "integer" && y == "number") common.push_back(x);
      if (x == "number" && y == "integer") common.push_back(y);
    }
  }
  if (common.empty())
    return invalid_argument("no type is left of " + a.dump() + " and " + b.dump());
  return common.size() == 1 ? Json(common[0]) : common;
}

Result<Json> merged_value(const std::string& key, const Json& a, const Json& b) {
  if (a == b || is_annotation(key)) return a;
  const bool numbers = a.is_number() && b.is_number();
  if (numbers &&
      (key == "minimum" || key == "exclusiveMinimum" || key == "minLength" || key == "minItems"))
    return a < b ? b : a;
  if (numbers &&
      (key == "maximum" || key == "exclusiveMaximum" || key == "maxLength" || key == "maxItems"))
    return a < b ? a : b;
  if (key == "type") return common_types(a, b);
  if (key == "required" && a.is_array() && b.is_array()) {
    Json all = a;
    for (const Json& name : b) {
      if (std::find(a.begin(), a.end(), name) == a.end()) all.push_back(name);
    }
    return all;
  }
  if (key == "enum" && a.is_array() && b.is_array()) {
    Json common = Json::array();
    for (const Json& value : a) {
      if (std::find(b.begin(), b.end(), value) != b.end()) common.push_back(value);
    }
    return common;
  }
  if (key == "properties" && a.is_object() && b.is_object()) {
    Json all = a;
    for (const auto& [name, schema] : b.get_ref<const Json::object_t&>()) {
      const bool in_both = all.contains(name) && all[name] != schema;
      all[name] = in_both ? Json{{"allOf", Json::array({all[name], schema})}} : schema;
    }
    return all;
  }
  if (key == "additionalProperties" || key == "items") {
    if (a == false || b == true) return a;
    if (b == false || a == true) return b;
    return Json{{"allOf", Json::array({a, b})}};
  }
  return unsupported("", "two values of '" + key + "' that hold at once");
}

}  // namespace

Result<const Json*> resolve_ref(const Json& root, const std::string& ref) {
  if (!ref.starts_with("#"))
    return unsupported("", "$ref to another document", "#/...", ref.substr(0, 100));
  const Json* at = &root;
  std::string_view rest = std::string_view(ref).substr(1);
  if (!rest.empty() && rest[0] != '/')
    return unsupported("", "$ref to an anchor", "#/...", ref.substr(0, 100));
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::size_t end = std::min(rest.find('/'), rest.size());
    at = child_of(*at, unescaped(rest.substr(0, end)));
    if (!at) return invalid_argument("$ref to what is not there", "", ref.substr(0, 100));
    rest.remove_prefix(end);
  }
  return at;
}

Result<Json> merge_schemas(const Json& a, const Json& b) {
  if (a == true) return b;
  if (b == true) return a;
  if (!a.is_object() || !b.is_object()) return invalid_argument("a schema that nothing satisfies");
  Json merged = a;
  for (const auto& [key, value] : b.get_ref<const Json::object_t&>()) {
    const auto found = merged.find(key);
    if (found == merged.end()) {
      merged[key] = value;
    } else {
      TANDEM_TRY(*found, merged_value(key, *found, value));
    }
  }
  return merged;
}

}  // namespace tandem
