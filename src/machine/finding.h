#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machine/survey.h"

namespace tandem {

enum class Severity { kOk, kInfo, kWarning, kError };

std::string_view name_of(Severity severity);

// One judgement over a machine, with what it rests on and what to do about it.
struct Finding {
  std::string id;  // "pcie-width"; docs/doctor.md lists them all
  Severity severity = Severity::kInfo;
  std::string subject;  // "cuda:1 (RTX 3090)", "host"
  std::string title;
  std::vector<std::string> evidence;
  std::string advice;
  std::string confidence = "certain";  // "certain", "likely" or "possible"
};

// Every finding over the survey, the gravest first; one of severity ok alone if nothing is amiss.
// Pure: reads nothing but its argument and the catalogues.
std::vector<Finding> judge(const Survey& survey);

// The gravest severity; info counts as ok.
Severity verdict_of(const std::vector<Finding>& findings);

}  // namespace tandem
