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
  constexpr unsigned kFirstPick = 0x80;  // no recording begins with such a byte
  const unsigned first = bytes.empty() ? 0 : static_cast<unsigned char>(bytes.front());
  const std::string text = clean_text(first < kFirstPick ? bytes : bytes.substr(1));
  const auto kinds = static_cast<unsigned>(RecordingKind::kUnknown);
  read_as(first < kFirstPick ? recognise_recording(text)
                             : static_cast<RecordingKind>((first - kFirstPick) % kinds),
          text);
}

void exercise_build(std::string_view bytes) {
  const auto build = parse_build(bytes, "fuzz.toml");
  if (!build.ok()) return;
  auto survey = plan_machine(*build);
  if (survey.ok()) judge_and_print(*survey);
}

}  // namespace tandem
