#include "machine/cpu_catalogue.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "machine/json_reader.h"
#include "machine/user_data.h"

namespace tandem {
namespace data {
extern const std::string_view kCpusJson;
}

namespace {

using Json = nlohmann::json;

Result<CpuFamily> read_family(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  CpuFamily family;
  if (const Json* patterns = reader.array("match"))
    for (const Json& pattern : *patterns)
      if (pattern.is_string()) family.patterns.push_back(pattern.get<std::string>());
  if (family.patterns.empty()) reader.fail("match", "a list of patterns");
  family.family = reader.get<std::string>("family").value_or("");
  family.lanes = reader.get<int>("lanes").value_or(0);
  family.lanes_two_sockets = reader.get<int>("lanes_two_sockets").value_or(0);
  family.graphics_lanes = reader.get<int>("graphics_lanes").value_or(family.lanes);
  family.generation = reader.get<int>("generation").value_or(0);
  family.channels = reader.get<int>("channels").value_or(0);
  family.power_w = reader.get<double>("power_w").value_or(0);
  family.source = reader.get<std::string>("source").value_or("");
  TANDEM_TRY_STATUS(reader.status());
  return family;
}

std::vector<CpuFamily> load_catalogue() {
  std::vector<CpuFamily> families;
  if (const auto file = read_user_data("TANDEM_CPUS", "cpus.json")) {
    auto own = parse_cpu_catalogue(file->text, file->path);
    if (own.ok())
      families = *std::move(own);
    else
      spdlog::warn("{}; the built-in catalogue is used alone", own.error().to_string());
  }
  auto built_in = parse_cpu_catalogue(data::kCpusJson, "data/cpus.json");
  TANDEM_CHECK(built_in.ok(), built_in.error().to_string());
  families.insert(families.end(), built_in->begin(), built_in->end());
  return families;
}

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

}  // namespace

bool matches_pattern(std::string_view text, std::string_view pattern) {
  std::size_t t = 0;
  std::size_t p = 0;
  std::size_t star = std::string_view::npos;  // where to resume when a guess for '*' was too short
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || same_letter(pattern[p], text[t]))) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Result<std::vector<CpuFamily>> parse_cpu_catalogue(std::string_view text,
                                                   const std::string& where) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return malformed(where, "not JSON");
  JsonReader reader(json, where);
  const Json* entries = reader.array("cpus");
  TANDEM_TRY_STATUS(reader.status());
  if (entries == nullptr) return malformed(where, "no list \"cpus\"");
  std::vector<CpuFamily> families;
  for (std::size_t i = 0; i < entries->size(); ++i) {
    TANDEM_TRY(CpuFamily family,
               read_family((*entries)[i], where + ": cpus[" + std::to_string(i) + "]"));
    families.push_back(std::move(family));
  }
  return families;
}

const std::vector<CpuFamily>& cpu_catalogue() {
  static const std::vector<CpuFamily> catalogue = load_catalogue();
  return catalogue;
}

const CpuFamily* find_cpu_family(std::string_view model) {
  for (const CpuFamily& family : cpu_catalogue())
    for (const std::string& pattern : family.patterns)
      if (matches_pattern(model, pattern)) return &family;
  return nullptr;
}

}  // namespace tandem
