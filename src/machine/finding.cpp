#include "machine/finding.h"

#include <algorithm>

#include "machine/findings/findings.h"

namespace tandem {

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "info";
}

Severity verdict_of(const std::vector<Finding>& findings) {
  Severity worst = Severity::kOk;
  for (const Finding& finding : findings)
    if (finding.severity >= Severity::kWarning) worst = std::max(worst, finding.severity);
  return worst;
}

namespace {

// "Nothing is wrong" is worth as much as what was looked at.
std::vector<std::string> what_is_not_known(const Survey& survey) {
  const auto all_gpus = [&](auto knows) {
    return std::all_of(survey.gpus.begin(), survey.gpus.end(), knows);
  };
  std::string missing;
  const auto note = [&](bool known, const char* what) {
    if (!known) missing += (missing.empty() ? "" : ", ") + std::string(what);
  };
  note(all_gpus([](const GpuFacts& gpu) { return gpu.link.width && gpu.link.max_width; }),
       "what the links can do");
  if (!survey.is_planned)
    note(all_gpus([](const GpuFacts& gpu) { return gpu.thermals.temperature_c.has_value(); }),
         "temperatures and clocks");
  bool ways = true;
  for (const Link& link : survey.machine.links)
    ways = ways && (link.kind == LinkKind::kSharedMemory || link.peer_access.has_value());
  note(ways, "access between cards");
  note(survey.host.host.cpu.has_value(), "the CPU");
  if (missing.empty()) return {};
  return {"no source tells: " + missing};
}

}  // namespace

std::vector<Finding> judge(const Survey& survey) {
  std::vector<Finding> findings;
  for (auto family : {find_presence, find_link_width, find_link_generation, find_placement,
                      find_pcie_errors, find_peer_access, find_numa, find_nvlink, find_power,
                      find_thermals, find_health, find_setup, find_sources, find_build})
    family(survey, findings);
  if (verdict_of(findings) == Severity::kOk && !survey.gpus.empty())
    findings.push_back({"healthy", Severity::kOk, "machine",
                        "Nothing is wrong with this machine as far as the sources show",
                        what_is_not_known(survey), "", "certain"});
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return findings;
}

}  // namespace tandem
