#include "machine/gpu_catalogue.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/log.h"
#include "base/units.h"
#include "machine/json_reader.h"
#include "machine/user_data.h"

namespace tandem {
namespace data {
extern const std::string_view kGpusJson;
}

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxEntries = 10000;

Result<GpuPrice> read_price(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  GpuPrice price;
  price.usd = reader.get<double>("usd").value_or(-1);
  if (!(price.usd >= 0)) reader.fail("usd", "dollars, 0 or more");
  price.condition = reader.get<std::string>("condition").value_or("");
  price.date = reader.get<std::string>("date").value_or("");
  price.source = reader.get<std::string>("source").value_or("");
  TANDEM_TRY_STATUS(reader.status());
  return price;
}

Result<GpuModel> read_model(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  GpuModel model;
  model.name = reader.get<std::string>("name").value_or("");
  if (model.name.empty()) reader.fail("name", "the name of a GPU");
  if (const Json* aliases = reader.array("aliases"))
    for (const Json& alias : *aliases)
      if (alias.is_string()) model.aliases.push_back(alias.get<std::string>());
  if (const Json* sizes = reader.array("memory_gib"))
    for (const Json& size : *sizes)
      if (size.is_number() && size.get<double>() > 0 && size.get<double>() < 1e6)
        model.memory_bytes.push_back(static_cast<std::int64_t>(size.get<double>() * kGiB));
  model.bandwidth_gbps = reader.get<double>("bandwidth_gbps");
  model.tensor_tflops = reader.get<double>("tensor_tflops");
  model.fp32_tflops = reader.get<double>("fp32_tflops");
  model.power_w = reader.get<double>("power_w");
  model.pcie_generation = reader.get<int>("pcie_generation");
  model.pcie_width = reader.get<int>("pcie_width");
  model.nvlink_gbps = reader.get<double>("nvlink_gbps");
  model.slots = reader.get<int>("slots");
  model.peer_over_pcie = reader.get<bool>("peer_over_pcie");
  model.vendor = reader.get<std::string>("vendor").value_or("");
  model.architecture = reader.get<std::string>("architecture").value_or("");
  model.int8_tops = reader.get<double>("int8_tops");
  if (const Json* price = reader.find("price")) {
    TANDEM_TRY(model.price, read_price(*price, where + ".price"));
  }
  model.source = reader.get<std::string>("source").value_or("");
  TANDEM_TRY_STATUS(reader.status());
  return model;
}

std::vector<GpuModel> load_catalogue() {
  std::vector<GpuModel> models;
  if (const auto file = read_user_data("TANDEM_GPUS", "gpus.json")) {
    auto own = parse_gpu_catalogue(file->text, file->path);
    if (own.ok())
      models = *std::move(own);
    else
      spdlog::warn("{}; the built-in catalogue is used alone", own.error().to_string());
  }
  auto built_in = parse_gpu_catalogue(data::kGpusJson, "data/gpus.json");
  TANDEM_CHECK(built_in.ok(), built_in.error().to_string());
  models.insert(models.end(), built_in->begin(), built_in->end());
  return models;
}

// "NVIDIA GeForce RTX 3090" and "rtx-3090" -> "rtx3090".
std::string key_of(std::string_view name) {
  std::string key;
  for (char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)))
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (std::string_view maker : {"nvidiacorporation", "nvidia", "geforce", "intel", "amd"})
    if (key.starts_with(maker)) key.erase(0, maker.size());
  return key;
}

// "rtx308010gb" -> "rtx3080": the size is told apart by memory_bytes.
std::string without_size(std::string key) {
  if (!key.ends_with("gb")) return key;
  std::size_t digits = key.size() - 2;
  std::size_t count = 0;
  // At most two digits, or "RTX 3080 10GB" would lose a part of its number.
  while (digits > 0 && count < 2 && std::isdigit(static_cast<unsigned char>(key[digits - 1])))
    --digits, ++count;
  return count == 0 ? key : key.substr(0, digits);
}

// The models that a key names, in the catalogue's order.
using ModelsByKey = std::map<std::string, std::vector<const GpuModel*>, std::less<>>;

ModelsByKey models_by(std::string (*form)(std::string)) {
  ModelsByKey models;
  for (const GpuModel& model : gpu_catalogue()) {
    std::set<std::string> keys{form(key_of(model.name))};
    for (const std::string& alias : model.aliases) keys.insert(form(key_of(alias)));
    for (const std::string& key : keys) models[key].push_back(&model);
  }
  return models;
}

// 0 where the sizes agree. Drivers report a little less than was sold.
double size_distance(const GpuModel& model, std::optional<std::int64_t> memory_bytes) {
  if (!memory_bytes || model.memory_bytes.empty()) return 0;
  double best = 1;
  for (std::int64_t size : model.memory_bytes)
    best = std::min(best,
                    std::abs(1.0 - static_cast<double>(*memory_bytes) / static_cast<double>(size)));
  return best < 0.1 ? 0 : best;
}

const GpuModel* best_match(const ModelsByKey& models, const std::string& key,
                           std::optional<std::int64_t> memory_bytes) {
  const auto named = models.find(key);
  if (named == models.end()) return nullptr;
  const GpuModel* best = nullptr;
  double best_distance = 0.35;  // another size of the same name is another model
  for (const GpuModel* model : named->second) {
    const double distance = size_distance(*model, memory_bytes);
    if (distance < best_distance) {
      best = model;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace

Result<std::vector<GpuModel>> parse_gpu_catalogue(std::string_view text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return malformed(where, "not JSON");
  JsonReader reader(json, where);
  const Json* entries = reader.array("gpus");
  TANDEM_TRY_STATUS(reader.status());
  if (entries == nullptr) return malformed(where, "no list \"gpus\"");
  if (entries->size() > kMaxEntries) return unsupported(where, "too many entries");
  std::vector<GpuModel> models;
  for (std::size_t i = 0; i < entries->size(); ++i) {
    TANDEM_TRY(GpuModel model,
               read_model((*entries)[i], where + ": gpus[" + std::to_string(i) + "]"));
    models.push_back(std::move(model));
  }
  return models;
}

const std::vector<GpuModel>& gpu_catalogue() {
  static const std::vector<GpuModel> catalogue = load_catalogue();
  return catalogue;
}

const GpuModel* find_gpu_model(std::string_view name, std::optional<std::int64_t> memory_bytes) {
  const std::string key = key_of(name);
  if (key.empty()) return nullptr;
  // Rules and reports ask for every pair of cards: the names are normalised once.
  static const ModelsByKey exact = models_by([](std::string k) { return k; });
  static const ModelsByKey sizeless = models_by(without_size);
  if (const GpuModel* model = best_match(exact, key, memory_bytes)) return model;
  return best_match(sizeless, without_size(key), memory_bytes);
}

}  // namespace tandem
