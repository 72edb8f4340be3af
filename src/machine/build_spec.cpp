#include "machine/build_spec.h"

#include <toml++/toml.h>
#include <algorithm>

namespace tandem {
namespace {

constexpr int kMaxGpus = 64;

// Reads one table; the first wrong value or unknown key is kept as the error.
class TableReader {
 public:
  TableReader(const toml::table& table, std::string where)
      : table_(table), where_(std::move(where)) {}

  template <typename T>
  void get(std::string_view key, std::optional<T>& slot) {
    known_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return;
    if constexpr (std::is_same_v<T, double>) {
      slot = node->value<double>();
    } else if constexpr (std::is_same_v<T, int>) {
      const auto value = node->value_exact<std::int64_t>();
      if (value && *value >= 0 && *value <= 100000) slot = static_cast<int>(*value);
    } else {
      slot = node->value_exact<T>();
    }
    if (!slot)
      fail(key, std::is_same_v<T, bool>          ? "true or false"
                : std::is_same_v<T, std::string> ? "text"
                                                 : "a number, not negative");
    if constexpr (std::is_same_v<T, double>)
      if (slot && !(*slot >= 0 && *slot < 1e6)) fail(key, "a number from 0 to a million");
  }

  const toml::table* table(std::string_view key) {
    known_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node != nullptr && !node->is_table()) fail(key, "a table [" + std::string(key) + "]");
    return node == nullptr ? nullptr : node->as_table();
  }

  const toml::array* tables(std::string_view key) {
    known_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node != nullptr && !(node->is_array() && node->as_array()->is_array_of_tables()))
      fail(key, "tables [[" + std::string(key) + "]]");
    return node == nullptr ? nullptr : node->as_array();
  }

  Status finish() {
    for (const auto& [key, node] : table_)
      if (std::find(known_.begin(), known_.end(), key.str()) == known_.end() && status_.ok()) {
        std::string names;
        for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
        status_ = malformed(where_, "unknown key " + std::string(key.str()), names);
      }
    return status_;
  }

 private:
  void fail(std::string_view key, std::string expected) {
    if (status_.ok())
      status_ = malformed(where_, "wrong value of " + std::string(key), std::move(expected));
  }

  const toml::table& table_;
  std::string where_;
  std::vector<std::string> known_;
  Status status_;
};

Status read_gpus(const toml::array* array, const std::string& where, BuildSpec& build) {
  if (array == nullptr) return {};
  for (const toml::node& node : *array) {
    TableReader reader(*node.as_table(), where + ": [[gpu]]");
    std::optional<std::string> name;
    std::optional<int> count;
    BuildGpu gpu;
    reader.get("name", name);
    reader.get("count", count);
    reader.get("power_limit_w", gpu.power_limit_w);
    reader.get("slots", gpu.slots);
    reader.get("liquid_cooled", gpu.liquid_cooled);
    TANDEM_TRY_STATUS(reader.finish());
    if (!name || name->empty())
      return malformed(where + ": [[gpu]]", "a GPU without a name", "name = \"RTX 3090\"");
    gpu.name = *name;
    gpu.count = count.value_or(1);
    build.gpus.push_back(std::move(gpu));
    if (build.num_gpus() < 1 || build.num_gpus() > kMaxGpus)
      return unsupported(where + ": [[gpu]]", "number of GPUs", "1 to " + std::to_string(kMaxGpus),
                         std::to_string(build.num_gpus()));
  }
  return {};
}

Status read_slots(const toml::array* array, const std::string& where, BuildSpec& build) {
  if (array == nullptr) return {};
  for (const toml::node& node : *array) {
    TableReader reader(*node.as_table(), where + ": [[slot]]");
    std::optional<int> width;
    std::optional<int> generation;
    std::optional<bool> chipset;
    BuildSlot slot;
    reader.get("width", width);
    reader.get("generation", generation);
    reader.get("chipset", chipset);
    reader.get("position", slot.position);
    TANDEM_TRY_STATUS(reader.finish());
    slot.width = width.value_or(16);
    slot.generation = generation.value_or(4);
    slot.from_chipset = chipset.value_or(false);
    if (slot.width < 1 || slot.width > 16 || slot.generation < 1 || slot.generation > 6)
      return malformed(where + ": [[slot]]", "no such slot", "width 1 to 16, generation 1 to 6");
    if (slot.position && (*slot.position < 1 || *slot.position > kMaxGpus))
      return malformed(where + ": [[slot]]", "no such position",
                       "1 to " + std::to_string(kMaxGpus));
    if (build.slots.size() >= kMaxGpus) return unsupported(where + ": [[slot]]", "too many slots");
    build.slots.push_back(slot);
  }
  return {};
}

Status read_parts(TableReader& top, const std::string& where, BuildSpec& build) {
  if (const toml::table* table = top.table("psu")) {
    TableReader reader(*table, where + ": [psu]");
    std::optional<std::string> standard;
    reader.get("watts", build.psu.watts);
    reader.get("standard", standard);
    reader.get("count", build.psu.count);
    TANDEM_TRY_STATUS(reader.finish());
    build.psu.standard = standard.value_or("");
  }
  if (const toml::table* table = top.table("case")) {
    TableReader reader(*table, where + ": [case]");
    reader.get("slots", build.chassis.slots);
    reader.get("fans", build.chassis.fans);
    reader.get("open_frame", build.chassis.open_frame);
    TANDEM_TRY_STATUS(reader.finish());
  }
  if (const toml::table* table = top.table("circuit")) {
    TableReader reader(*table, where + ": [circuit]");
    reader.get("volts", build.circuit.volts);
    reader.get("amperes", build.circuit.amperes);
    TANDEM_TRY_STATUS(reader.finish());
  }
  return {};
}

}  // namespace

int BuildSpec::num_gpus() const {
  int count = 0;
  for (const BuildGpu& gpu : gpus) count += gpu.count;
  return count;
}

Result<BuildSpec> parse_build(std::string_view text, const std::string& where) {
  constexpr std::size_t kMaxBytes = 1 << 20;
  if (text.size() > kMaxBytes) return unsupported(where, "a description of more than 1 MiB");
  try {
    const toml::table table = toml::parse(text, where);
    BuildSpec build;
    TableReader reader(table, where);
    reader.get("cpu", build.cpu);
    reader.get("board", build.board);
    reader.get("memory_gib", build.memory_gib);
    reader.get("rest_w", build.rest_w);
    TANDEM_TRY_STATUS(read_gpus(reader.tables("gpu"), where, build));
    TANDEM_TRY_STATUS(read_slots(reader.tables("slot"), where, build));
    TANDEM_TRY_STATUS(read_parts(reader, where, build));
    TANDEM_TRY_STATUS(reader.finish());
    return build;
  } catch (const toml::parse_error& error) {
    return malformed(where + ":" + std::to_string(error.source().begin.line),
                     "not TOML: " + std::string(error.description()));
  }
}

}  // namespace tandem
