#include "machine/same_machine.h"

#include <algorithm>

#include "machine/text_scan.h"

namespace tandem {
namespace {

Error another_machine(const MachineMark& mark, const MachineMark& other, std::string expected,
                      std::string got) {
  return malformed(mark.source, "this is another machine than " + other.source, std::move(expected),
                   std::move(got));
}

// "AD102 [GeForce RTX 4090] [10de:2684]" -> "GeForce RTX 4090"; "NVIDIA GeForce RTX 4090" ->
// "GeForce RTX 4090"; "" where the source had no name ("Device 2684").
std::string model_in(const std::string& name) {
  std::string_view text = name;
  if (text.ends_with(']') && text.size() > 12 && text[text.size() - 6] == ':')
    text = trim(text.substr(0, text.size() - 11));
  if (const std::size_t open = text.rfind('['); open != std::string_view::npos)
    return std::string(text.substr(open + 1, text.rfind(']') - open - 1));
  return {};
}

bool lists_all_cards(RecordingKind kind) {
  return kind == RecordingKind::kNvidiaSmiXml || kind == RecordingKind::kNvidiaSmiText ||
         kind == RecordingKind::kLstopoXml;
}

// Only names of x86 processors are the same in every source.
bool is_comparable(const std::string& cpu) {
  return contains(cpu, "Intel") || contains(cpu, "AMD");
}

bool same_words(const std::string& a, const std::string& b) {
  return split_words(a) == split_words(b);
}

std::string list_of(const std::map<PciAddress, MachineMark::Card>& cards) {
  std::string text;
  for (const auto& [address, card] : cards) text += (text.empty() ? "" : " ") + address.to_string();
  return text.empty() ? "none" : text;
}

bool holds_all(const MachineMark& whole, const MachineMark& part) {
  return std::all_of(part.cards.begin(), part.cards.end(),
                     [&](const auto& item) { return whole.cards.count(item.first) != 0; });
}

// A part of the machine's cards is no contradiction, unless the source would have shown the rest.
Status compare_places(const MachineMark& mark, const MachineMark& other) {
  if (mark.cards.empty() || other.cards.empty()) return {};
  const bool inside = holds_all(other, mark);
  const bool around = holds_all(mark, other);
  const bool possible =
      (inside && !mark.lists_all_cards) || (around && !other.lists_all_cards) || (inside && around);
  if (possible) return {};
  return another_machine(mark, other, "GPUs at " + list_of(other.cards),
                         "GPUs at " + list_of(mark.cards));
}

template <typename T>
bool differ(const std::optional<T>& a, const std::optional<T>& b) {
  return a && b && *a != *b;
}

Status compare_cards(const MachineMark& mark, const MachineMark& other) {
  for (const auto& [address, card] : mark.cards) {
    const auto found = other.cards.find(address);
    if (found == other.cards.end()) continue;
    const MachineMark::Card& known = found->second;
    const std::string where = " at " + address.to_string();
    if (differ(card.uuid, known.uuid))
      return another_machine(mark, other, *known.uuid + where, *card.uuid);
    const bool other_model =
        !card.model.empty() && !known.model.empty() && card.model != known.model;
    if (differ(card.device_id, known.device_id) || other_model)
      return another_machine(mark, other,
                             (known.model.empty() ? "another card" : known.model) + where,
                             card.model.empty() ? "a card of other ids" : card.model);
  }
  return {};
}

}  // namespace

MachineMark mark_of(const Survey& survey, std::string source, RecordingKind kind) {
  MachineMark mark;
  mark.source = std::move(source);
  mark.lists_all_cards = lists_all_cards(kind);
  mark.host_name = survey.host.host_name;
  mark.host_hash = survey.host.host_hash;
  if (kind != RecordingKind::kDmidecode) mark.cpu = survey.host.host.cpu;
  for (const auto& [address, device] : survey.pci) {
    if (device.vendor_id != kVendorNvidia || !device.is_compute_gpu()) continue;
    mark.cards[address] = {device.device_id, std::nullopt, model_in(device.name)};
  }
  for (const GpuFacts& gpu : survey.gpus)
    if (gpu.address && gpu.vendor == GpuVendor::kNvidia) mark.cards[*gpu.address].uuid = gpu.uuid;
  return mark;
}

Status expect_same_machine(const MachineMark& mark, const std::vector<MachineMark>& others) {
  for (const MachineMark& other : others) {
    if (differ(mark.host_name, other.host_name))
      return another_machine(mark, other, "host " + *other.host_name, "host " + *mark.host_name);
    if (differ(mark.host_hash, other.host_hash))
      return another_machine(mark, other, "host hash " + *other.host_hash, *mark.host_hash);
    if (mark.cpu && other.cpu && is_comparable(*mark.cpu) && is_comparable(*other.cpu) &&
        !same_words(*mark.cpu, *other.cpu))
      return another_machine(mark, other, *other.cpu, *mark.cpu);
    TANDEM_TRY_STATUS(compare_places(mark, other));
    TANDEM_TRY_STATUS(compare_cards(mark, other));
  }
  return {};
}

}  // namespace tandem
