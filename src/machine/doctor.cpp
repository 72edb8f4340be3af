#include "machine/doctor.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "machine/assemble.h"
#include "machine/finding.h"
#include "machine/local_survey.h"
#include "machine/planned_machine.h"
#include "machine/recording.h"
#include "machine/report/doctor_report.h"

namespace tandem {
namespace {

Result<BuildSpec> read_build(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return malformed(path, "no such file", "a TOML description of a machine");
  std::ifstream file(path, std::ios::binary);
  constexpr std::streamsize kMaxBytes = (1 << 20) + 1;
  std::string text(static_cast<std::size_t>(kMaxBytes), '\0');
  file.read(text.data(), kMaxBytes);
  text.resize(static_cast<std::size_t>(file.gcount()));
  return parse_build(text, path);
}

Result<Survey> survey_machine(const DoctorOptions& options, const std::optional<BuildSpec>& build) {
  if (options.from) return read_recording_folder(*options.from);
  if (build && !build->gpus.empty()) {
    auto survey = plan_machine(*build);
    if (!survey.ok()) {
      Error error = survey.error();
      error.code = ErrorCode::kMalformed;  // a wrong name in the file is bad input
      return error.at(*options.build);
    }
    return survey;
  }
  return survey_local_machine(
      {.load = options.load, .watch_errors = true, .run_tools = true, .read_log = true});
}

Status check_options(const DoctorOptions& options) {
  if (options.load && (options.from || options.build))
    return invalid_argument("--load needs the machine itself", "--load without --from and --build");
  if (options.psu_watts && !(*options.psu_watts > 0 && *options.psu_watts < 1e6))
    return invalid_argument("no such power supply", "--psu with watts, such as 1600");
  return {};
}

// Keeps the GPUs asked for. Their numbers stay theirs only in the driver; here they are counted
// anew, so the subject names the address too.
Status keep_gpus(const std::vector<int>& wanted, Survey& survey) {
  if (wanted.empty()) return {};
  std::vector<GpuFacts> kept;
  for (int index : wanted) {
    if (index < 0 || static_cast<std::size_t>(index) >= survey.gpus.size())
      return invalid_argument(
          "no such GPU", "--gpus 0 to " + std::to_string(static_cast<int>(survey.gpus.size()) - 1),
          std::to_string(index));
    if (std::count(wanted.begin(), wanted.end(), index) > 1)
      return invalid_argument("a GPU is named twice", "--gpus with each number once",
                              std::to_string(index));
    kept.push_back(survey.gpus[static_cast<std::size_t>(index)]);
  }
  std::map<std::pair<int, int>, GpuPair> pairs;
  for (std::size_t a = 0; a < wanted.size(); ++a)
    for (std::size_t b = a + 1; b < wanted.size(); ++b)
      if (const GpuPair* pair = survey.find_pair(wanted[a], wanted[b]))
        pairs[{static_cast<int>(a), static_cast<int>(b)}] = *pair;
  std::vector<PciAddress> dropped;
  for (std::size_t i = 0; i < survey.gpus.size(); ++i)
    if (std::count(wanted.begin(), wanted.end(), static_cast<int>(i)) == 0 &&
        survey.gpus[i].address)
      dropped.push_back(*survey.gpus[i].address);
  survey.gpus = std::move(kept);
  survey.pairs = std::move(pairs);
  for (const PciAddress& address : dropped) survey.pci.erase(address);
  return assemble_machine(survey);
}

Status write_svg(const std::string& path, const std::string& svg) {
  std::ofstream file(path, std::ios::binary);
  file << svg;
  file.close();
  if (!file) return Error{ErrorCode::kIo, "cannot write the drawing", path, {}, {}};
  return {};
}

}  // namespace

Result<int> run_doctor(const DoctorOptions& options, std::ostream& out) {
  TANDEM_TRY_STATUS(check_options(options));
  std::optional<BuildSpec> build;
  if (options.build) {
    TANDEM_TRY(build, read_build(*options.build));
  }
  TANDEM_TRY(Survey survey, survey_machine(options, build));
  if (options.psu_watts) {
    if (!build) build.emplace();
    build->psu.watts = *options.psu_watts;
  }
  survey.build = build;
  if (survey.is_local) survey.program_cuda_version = options.cuda_toolkit;
  TANDEM_TRY_STATUS(keep_gpus(options.gpus, survey));
  if (options.redact) redact(survey);
  const std::vector<Finding> findings = judge(survey);
  if (options.svg) TANDEM_TRY_STATUS(write_svg(*options.svg, doctor_svg(survey, findings)));
  if (options.json)
    out << doctor_json(survey, findings)
               .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
        << "\n";
  else
    out << doctor_text(survey, findings, {options.colour, 100});
  return verdict_of(findings) == Severity::kError ? 3 : 0;
}

}  // namespace tandem
