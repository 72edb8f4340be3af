#include <algorithm>
#include <map>

#include "machine/assemble.h"
#include "machine/findings/findings.h"

namespace tandem {
namespace {

// The two ends of a card's link, and the bridges above it.
struct Place {
  std::string subject;  // the card, or the device itself where no card lies below it
  std::string end;      // "at the card", "at the port above it, 0000:00:01.1"
};

Place place_of(const Survey& survey, const CounterRate& rate) {
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    if (gpu.address == rate.address) return {survey.gpu_label(i), "at the card"};
    const PciDevice* port = port_above(survey, i);
    if (port != nullptr && port->address == rate.address)
      return {survey.gpu_label(i), "at the port above it, " + rate.address.to_string()};
    const PciDevice* entry = card_entry(survey, i);
    if (entry != nullptr && entry->address == rate.address)
      return {survey.gpu_label(i), "at the card's own switch"};
  }
  const std::string name =
      rate.address.to_string() + (rate.subject.empty() ? "" : " ") + rate.subject;
  return {name, "at this device"};
}

std::string growth_text(const CounterRate& rate) {
  const auto grown = static_cast<double>(rate.after - rate.before);
  std::string text = rate.counter + " grew from " + std::to_string(rate.before) + " to " +
                     std::to_string(rate.after);
  if (rate.seconds <= 0) return text + " between the two recordings";
  const double per_second = grown / rate.seconds;
  const bool slow = per_second < 0.1;
  return text + " in " + number_text(rate.seconds) +
         " s: " + number_text(slow ? per_second * 3600 : per_second) +
         (slow ? " an hour" : " a second");
}

struct LinkErrors {
  bool uncorrectable = false;
  std::vector<std::string> evidence;
};

}  // namespace

// pcie-errors: counters that grow between two readings, at either end of a link. A counter that is
// merely not zero may have been so since the machine booted, and says nothing about now.
void find_pcie_errors(const Survey& survey, std::vector<Finding>& findings) {
  std::map<std::string, LinkErrors> links;
  for (const CounterRate& rate : survey.rates) {
    if (rate.after <= rate.before) continue;
    const Place place = place_of(survey, rate);
    LinkErrors& link = links[place.subject];
    link.uncorrectable =
        link.uncorrectable || rate.counter == "fatal" || rate.counter == "nonfatal";
    link.evidence.push_back(place.end + ": " + growth_text(rate));
  }
  for (const auto& [subject, link] : links)
    findings.push_back(
        {"pcie-errors", link.uncorrectable ? Severity::kError : Severity::kWarning, subject,
         link.uncorrectable ? "Uncorrectable errors on this PCIe link"
                            : "This PCIe link repeats packets that arrived damaged",
         link.evidence,
         "Reseat the card, leave out or replace the riser, lower the slot by one PCIe generation "
         "in the BIOS. If errors stay, try the card in another slot to tell card from board.",
         "likely"});
}

}  // namespace tandem
