#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "machine/finding.h"
#include "machine/survey.h"

namespace tandem {

struct ReportStyle {
  bool colour = false;
  int columns = 100;
};

// For people: the drawn machine, what lies between GPUs, findings by severity, what to do first.
std::string doctor_text(const Survey& survey, const std::vector<Finding>& findings,
                        const ReportStyle& style);

// {"machine", "findings", "verdict"} of the contract; with "sources" and, per finding,
// "confidence".
nlohmann::json doctor_json(const Survey& survey, const std::vector<Finding>& findings);

// The drawn machine as a page of SVG that stands alone.
std::string doctor_svg(const Survey& survey, const std::vector<Finding>& findings);

// Leaves out what tells whose machine it is: serial numbers, UUIDs, host names, names of processes
// and files; in `survey` itself, so that every output made from it afterwards is clean.
void redact(Survey& survey);

}  // namespace tandem
