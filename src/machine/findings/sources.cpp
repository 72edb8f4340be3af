#include <algorithm>
#include <map>

#include "machine/findings/findings.h"

namespace tandem {

// sources-disagree, recording-cut, recording-damaged, source-failed.
void find_sources(const Survey& survey, std::vector<Finding>& findings) {
  std::map<std::string, std::vector<std::string>> by_subject;
  for (const Conflict& conflict : survey.conflicts) {
    auto& lines = by_subject[conflict.subject];
    if (lines.size() < 8)
      lines.push_back(conflict.fact + ": " + conflict.first + ", " + conflict.second);
  }
  for (const auto& [subject, lines] : by_subject)
    findings.push_back({"sources-disagree", Severity::kWarning, subject,
                        "Two sources state this differently", lines,
                        survey.is_local
                            ? "The first value was used. A driver that was updated without a "
                              "reboot, or a virtual machine, may be the cause."
                            : "Were the recordings made at the same time, on the same machine? The "
                              "first value was used.",
                        "certain"});
  if (!survey.cut_sources.empty())
    findings.push_back({"recording-cut", Severity::kInfo, "recording",
                        "A recording seems to be cut off: what it says last may be missing",
                        survey.cut_sources, "Record it again, whole.", "possible"});
  std::vector<std::string> damaged;
  for (const SourceNote& source : survey.sources)
    if (!source.kind.empty() && !source.note.empty() && damaged.size() < 8)
      damaged.push_back(survey.is_local ? source.name + ": " + source.note : source.note);
  if (damaged.empty()) return;
  if (survey.is_local)
    findings.push_back({"source-failed", Severity::kWarning, "machine",
                        "A source of facts about this computer failed; what it tells is missing",
                        damaged, "Run the tool by hand to see why.", "certain"});
  else
    findings.push_back({"recording-damaged", Severity::kWarning, "recording",
                        "A recording could not be read and was left out", damaged,
                        "Record it again, whole.", "certain"});
}

}  // namespace tandem
