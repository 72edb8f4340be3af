#include <algorithm>
#include <array>

#include "machine/findings/findings.h"

namespace tandem {
namespace {

void find_memory_errors(const Survey& survey, int index, std::vector<Finding>& findings) {
  const GpuHealth& health = gpu_at(survey, index).health;
  const std::string label = survey.gpu_label(index);
  // The gravest first: its advice is what the report ends with.
  if (health.repair_failed == true)
    findings.push_back({"memory-repair-failed",
                        Severity::kError,
                        label,
                        "The card could not replace a damaged row of memory",
                        {"remapping failure: yes"},
                        "Replace the card: this is the maker's own criterion for a return.",
                        "certain"});
  if (health.uncorrectable_since_boot.value_or(0) > 0)
    findings.push_back(
        {"ecc-errors",
         Severity::kError,
         label,
         "This card's memory had errors that could not be corrected",
         {std::to_string(*health.uncorrectable_since_boot) + " since the driver was loaded, " +
          std::to_string(health.uncorrectable_ever.value_or(0)) + " ever"},
         "Results computed since then may be wrong. Reset the card (nvidia-smi -r) so that rows "
         "are remapped; if errors return, replace it.",
         "certain"});
  if (health.repair_pending == true)
    findings.push_back({"memory-repair-pending",
                        Severity::kWarning,
                        label,
                        "A repair of the card's memory waits for a reset",
                        {"remapping or page retirement pending"},
                        "Stop all work on the card and reset it: nvidia-smi -r, or reboot.",
                        "certain"});
  // 60 retired pages are NVIDIA's criterion for a return (Dynamic Page Retirement guide).
  if (const auto pages = health.retired_pages.value_or(0); pages > 0)
    findings.push_back({"retired-pages",
                        pages >= 60 ? Severity::kWarning : Severity::kInfo,
                        label,
                        std::to_string(pages) + " pages of this card's memory were retired",
                        {"NVIDIA takes cards back from 60 on"},
                        "Watch the number; nothing to do below 60.",
                        "certain"});
  if (health.recovery_action && *health.recovery_action != "None")
    findings.push_back({"gpu-needs-recovery",
                        Severity::kError,
                        label,
                        "The driver asks for a recovery of this card: " + *health.recovery_action,
                        {"gpu_recovery_action: " + *health.recovery_action},
                        "Do what it asks: reset the card, drain it, or reboot.",
                        "certain"});
}

struct XidMeaning {
  int code;
  Severity severity;
  const char* meaning;
  const char* advice;
};

// NVIDIA's "XID Errors" guide.
constexpr std::array<XidMeaning, 18> kXids{{
    {13, Severity::kInfo, "a program's kernel failed",
     "Usually a bug of that program; the card is well if others run."},
    {31, Severity::kInfo, "a program touched memory that was not its own",
     "Usually a bug of that program."},
    {43, Severity::kInfo, "a program's work was stopped", "Usually a bug of that program."},
    {45, Severity::kInfo, "a program was ended while it computed",
     "Normal when programs are killed."},
    {48, Severity::kError, "uncorrectable memory error",
     "Reset the card; replace it if this returns."},
    {61, Severity::kWarning, "the card's own controller warned",
     "Power-cycle the machine; update driver and firmware."},
    {62, Severity::kError, "the card's own controller halted",
     "Power-cycle the machine; update driver and firmware."},
    {63, Severity::kInfo, "a row of memory was remapped", "Reset the card when convenient."},
    {64, Severity::kError, "a row of memory could not be remapped", "Replace the card."},
    {74, Severity::kError, "NVLink error",
     "Reseat the bridge or module; look at nvidia-smi nvlink -e."},
    {79, Severity::kError, "the card fell off the bus",
     "Check power cables, seating, riser and temperature; this is seldom software."},
    {92, Severity::kWarning, "many correctable memory errors", "Watch the card."},
    {94, Severity::kWarning, "a contained memory error", "Restart the program concerned."},
    {95, Severity::kError, "an uncontained memory error", "Reset the card."},
    {109, Severity::kWarning, "a context switch took too long",
     "Update the driver; check the card under load."},
    {119, Severity::kError, "the card's firmware (GSP) does not answer",
     "Reset the card or reboot; update the driver; NVreg_EnableGpuFirmware=0 where the driver "
     "still allows it."},
    {120, Severity::kError, "the card's firmware (GSP) failed",
     "Reset the card or reboot; update the driver."},
    {140, Severity::kError, "uncorrectable memory error",
     "Reset the card; replace it if this returns."},
}};

void find_xids(const Survey& survey, std::vector<Finding>& findings) {
  for (const XidReport& report : survey.host.xids) {
    const auto known = std::find_if(kXids.begin(), kXids.end(),
                                    [&](const XidMeaning& x) { return x.code == report.code; });
    std::string subject = report.address ? report.address->to_string() : "GPU";
    for (int i = 0; i < num_gpus(survey); ++i)
      if (report.address && gpu_at(survey, i).address == report.address)
        subject = survey.gpu_label(i);
    const bool is_known = known != kXids.end();
    findings.push_back(
        {"xid",
         is_known ? known->severity : Severity::kWarning,
         subject,
         "Xid " + std::to_string(report.code) + " in the log" +
             (report.count > 1 ? ", " + std::to_string(report.count) + " times" : "") +
             (is_known ? std::string(": ") + known->meaning : ""),
         {report.line},
         is_known ? known->advice : "See NVIDIA's guide \"XID Errors\".",
         is_known ? "certain" : "possible"});
  }
}

}  // namespace

// ecc-errors, memory-repair-failed, memory-repair-pending, retired-pages, gpu-needs-recovery, xid,
// log-fault.
void find_health(const Survey& survey, std::vector<Finding>& findings) {
  for (int i = 0; i < num_gpus(survey); ++i) find_memory_errors(survey, i, findings);
  find_xids(survey, findings);
  if (!survey.host.log_faults.empty())
    findings.push_back(
        {"log-fault",
         Severity::kWarning,
         "host",
         std::to_string(survey.host.log_faults.size()) +
             (survey.host.log_faults.size() == 1 ? " line of the logs names"
                                                 : " lines of the logs name") +
             " a fault",
         {survey.host.log_faults.begin(),
          survey.host.log_faults.begin() +
              static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, survey.host.log_faults.size()))},
         "Look at the log around these lines; errors that do not come back need nothing.",
         "possible"});
}

}  // namespace tandem
