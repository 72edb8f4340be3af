#include "machine/sources/rocm_smi.h"

#include <map>

#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::int64_t kMaxGpus = 64;

struct RocmCard {
  std::optional<PciAddress> address;
  std::optional<std::string> name;
  std::optional<std::int64_t> memory_bytes;
  std::optional<double> temperature_c;
  std::optional<double> power_limit_w;
};

void read_field(std::string_view name, std::string_view value, RocmCard& card) {
  if (name == "PCI Bus") card.address = PciAddress::parse(value);
  if (contains_ignoring_case(name, "card series") && !card.name) card.name = std::string(value);
  if (contains_ignoring_case(name, "VRAM Total Memory (B)")) card.memory_bytes = leading_int(value);
  if (contains_ignoring_case(name, "Temperature (Sensor junction)") ||
      contains_ignoring_case(name, "Temperature (Sensor edge)"))
    card.temperature_c = leading_number(value);
  if (contains_ignoring_case(name, "Max Graphics Package Power (W)"))
    card.power_limit_w = leading_number(value);
}

}  // namespace

Status read_rocm_smi(std::string_view text, SurveyWriter& writer) {
  std::map<std::int64_t, RocmCard> cards;
  for (std::string_view line : split_lines(text)) {
    if (!line.starts_with("GPU[")) continue;
    const auto index = leading_int(line.substr(4));
    const std::size_t first = line.find(": ");
    const std::size_t second = first == std::string_view::npos ? first : line.find(": ", first + 2);
    if (!index || *index < 0 || *index >= kMaxGpus || second == std::string_view::npos) continue;
    read_field(trim(line.substr(first + 2, second - first - 2)), trim(line.substr(second + 2)),
               cards[*index]);
  }
  if (cards.empty()) return malformed(writer.source(), "no card in this output of rocm-smi");
  for (const auto& [index, card] : cards) {
    GpuFacts* gpu =
        card.address ? &writer.gpu_at(*card.address) : writer.gpu_numbered(static_cast<int>(index));
    if (gpu == nullptr) continue;
    gpu->vendor = GpuVendor::kAmd;
    gpu->has_driver = true;
    const std::string subject = "rocm:" + std::to_string(index);
    writer.learn(gpu->name, card.name, subject, "name");
    writer.learn(gpu->memory_bytes, card.memory_bytes, subject, "memory");
    writer.read(gpu->thermals.temperature_c, card.temperature_c);
    writer.read(gpu->power.limit_w, card.power_limit_w);
  }
  return {};
}

}  // namespace tandem
