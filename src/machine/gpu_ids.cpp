#include "machine/gpu_ids.h"

#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"

namespace tandem {
namespace data {
extern const std::string_view kGpuIdsJson;
}

namespace {

std::map<std::string, std::string> load_ids() {
  const auto json = nlohmann::json::parse(data::kGpuIdsJson, nullptr, false);
  TANDEM_CHECK(json.is_object(), "data/gpu_ids.json is not JSON");
  return json.at("ids").get<std::map<std::string, std::string>>();
}

}  // namespace

std::optional<std::string> gpu_name_by_id(std::uint16_t vendor_id, std::uint16_t device_id) {
  static const std::map<std::string, std::string> ids = load_ids();
  std::array<char, 16> key{};
  std::snprintf(key.data(), key.size(), "%04x:%04x", vendor_id, device_id);
  const auto found = ids.find(key.data());
  if (found == ids.end()) return std::nullopt;
  return found->second;
}

}  // namespace tandem
