#include "model/known_shapes.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "model/shape_json.h"

namespace tandem {

namespace data {
extern const std::string_view kModelsJson;  // data/models.json
}

namespace {

constexpr std::uintmax_t kMaxShapeFileBytes = 1 << 20;

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool has_name(const KnownShape& shape, std::string_view name) {
  return same_name(shape.spec.name, name) ||
         std::ranges::any_of(shape.aliases,
                             [&](const auto& alias) { return same_name(alias, name); });
}

std::vector<KnownShape> parse_catalogue() {
  const auto catalogue = nlohmann::json::parse(data::kModelsJson);
  std::vector<KnownShape> shapes;
  for (const auto& entry : catalogue.at("models"))
    shapes.push_back(shape_from_json_value(entry, "data/models.json").value());
  return shapes;
}

}  // namespace

std::span<const KnownShape> known_shapes() {
  static const std::vector<KnownShape> kShapes = parse_catalogue();
  return kShapes;
}

Result<const KnownShape*> find_known_shape(std::string_view name) {
  std::string names;
  for (const KnownShape& shape : known_shapes()) {
    if (has_name(shape, name)) return &shape;
    names += (names.empty() ? "" : ", ") + shape.spec.name;
  }
  return Error{ErrorCode::kNotFound,
               "no known model of this name",
               {},
               "one of " + names,
               std::string(name)};
}

Result<KnownShape> shape_from_json(std::string_view json, std::string_view where) {
  const auto value = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return malformed(std::string(where), "not JSON");
  return shape_from_json_value(value, where);
}

Result<KnownShape> shape_from_argument(std::string_view argument) {
  if (argument.starts_with('{')) return shape_from_json(argument, "--shape");
  const std::filesystem::path path(argument);
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error)) {
    if (std::filesystem::file_size(path, error) > kMaxShapeFileBytes)
      return malformed(path.string(), "too large for the description of a shape");
    std::ifstream in(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return shape_from_json(text, path.string());
  }
  TANDEM_TRY(const KnownShape* known, find_known_shape(argument));
  return *known;
}

}  // namespace tandem
