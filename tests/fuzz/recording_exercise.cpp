#include "recording_exercise.h"

#include <nlohmann/json.hpp>

#include "machine/assemble.h"
#include "machine/finding.h"
#include "machine/planned_machine.h"
#include "machine/recording_kind.h"
#include "machine/report/doctor_report.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

void judge_and_print(Survey& survey) {
  if (!assemble_machine(survey).ok()) return;
  const auto findings = judge(survey);
  (void)doctor_text(survey, findings, {true, 100});
  (void)doctor_svg(survey, findings);
  // A dump throws on text that is not UTF-8: none may come this far.
  (void)doctor_json(survey, findings).dump();
  redact(survey);
}

void read_as(RecordingKind kind, std::string_view text) {
  Survey survey;
  SurveyWriter writer(survey, "fuzz");
  (void)read_recording(kind, text, writer).ok();
  judge_and_print(survey);
}

}  // namespace

void exercise_recording(std::string_view bytes) {
  const std::string text = clean_text(bytes);
  read_as(recognise_recording(text), text);
  if (bytes.empty()) return;
  const int kinds = static_cast<int>(RecordingKind::kUnknown);
  const auto picked = static_cast<RecordingKind>(static_cast<unsigned char>(bytes[0]) % kinds);
  read_as(picked, clean_text(bytes.substr(1)));
}

void exercise_build(std::string_view bytes) {
  const auto build = parse_build(bytes, "fuzz.toml");
  if (!build.ok()) return;
  auto survey = plan_machine(*build);
  if (survey.ok()) judge_and_print(*survey);
}

}  // namespace tandem
