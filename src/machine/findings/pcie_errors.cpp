#include "machine/findings/findings.h"

namespace tandem {

// pcie-errors: counters that grow between two readings. A counter that is merely not zero may have
// been so since the machine booted, and says nothing about now.
void find_pcie_errors(const Survey& survey, std::vector<Finding>& findings) {
  for (const CounterRate& rate : survey.rates) {
    if (rate.after <= rate.before || rate.seconds <= 0) continue;
    const double per_second = static_cast<double>(rate.after - rate.before) / rate.seconds;
    const bool fatal = rate.counter == "fatal" || rate.counter == "nonfatal";
    findings.push_back(
        {"pcie-errors",
         fatal ? Severity::kError : Severity::kWarning,
         rate.subject,
         fatal ? "Uncorrectable errors on this PCIe link"
               : "This PCIe link repeats packets that arrived damaged",
         {rate.counter + " grew from " + std::to_string(rate.before) + " to " +
          std::to_string(rate.after) + " in " + number_text(rate.seconds) +
          " s: " + number_text(per_second) + " per second"},
         "Reseat the card, leave out or replace the riser, lower the slot by one PCIe generation "
         "in the BIOS. If errors stay, try the card in another slot to tell card from board.",
         "likely"});
  }
}

}  // namespace tandem
