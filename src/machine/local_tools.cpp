#include "machine/local_tools.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "machine/recording_kind.h"
#include "machine/text_scan.h"
#include "machine/watched_child.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

struct Command {
  const char* program;
  std::vector<std::string> arguments;
  RecordingKind kind;
  bool needs_root;
};

// nvidia-smi's report comes first: it gives the cards their addresses.
const std::vector<Command>& commands() {
  static const std::vector<Command> list{
      {"nvidia-smi", {"-q", "-x"}, RecordingKind::kNvidiaSmiXml, false},
      {"nvidia-smi", {"topo", "-m"}, RecordingKind::kTopologyMatrix, false},
      {"nvidia-smi", {"nvlink", "-s"}, RecordingKind::kNvlinkStatus, false},
      {"dmidecode", {}, RecordingKind::kDmidecode, true},
  };
  return list;
}

fs::path find_program(const LocalTools& tools, const char* name) {
  for (const fs::path& folder : tools.folders)
    if (access((folder / name).c_str(), X_OK) == 0) return folder / name;
  return {};
}

struct Running {
  const Command* command;
  std::string name;
  WatchedChild child;
};

std::vector<Running> start_all(const LocalTools& tools, Survey& survey) {
  std::vector<Running> running;
  for (const Command& command : commands()) {
    if (command.needs_root && !tools.is_root) continue;
    const fs::path program = find_program(tools, command.program);
    if (program.empty()) continue;
    std::vector<std::string> words{program.string()};
    words.insert(words.end(), command.arguments.begin(), command.arguments.end());
    std::string name = command.program;
    for (const std::string& argument : command.arguments) name += " " + argument;
    auto child = WatchedChild::execute(words);
    if (child.ok())
      running.push_back({&command, name, *std::move(child)});
    else
      survey.sources.push_back({name, "this computer", child.error().to_string()});
  }
  return running;
}

// What a tool printed, into the survey. A tool may print what is wrong instead of what was asked.
std::string enter(const Command& command, const std::string& name, std::string_view text,
                  Survey& survey) {
  SurveyWriter writer(survey, name);
  const RecordingKind kind = recognise_recording(text);
  if (kind == RecordingKind::kNvidiaSmiFailure) {
    (void)read_recording(kind, text, writer).ok();
    return {};  // a finding of its own
  }
  // Where there is one GPU or none, and no NVLink, topo and nvlink print little or nothing.
  if (kind != command.kind && command.kind != RecordingKind::kNvidiaSmiXml &&
      command.kind != RecordingKind::kDmidecode)
    return {};
  const Status status = read_recording(command.kind, text, writer);
  return status.ok() ? "" : status.error().to_string();
}

}  // namespace

void read_local_tools(const LocalTools& tools, Survey& survey) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kMaxBytes = 16u << 20;
  const auto start = Clock::now();
  for (Running& tool : start_all(tools, survey)) {
    const std::chrono::duration<double> passed = Clock::now() - start;
    const auto bytes =
        tool.child.read_all(std::max(tools.seconds - passed.count(), 0.05), kMaxBytes);
    const std::string note = bytes.ok()
                                 ? enter(*tool.command, tool.name, clean_text(*bytes), survey)
                                 : "did not answer in time";
    survey.sources.push_back({tool.name, "this computer", note});
  }
}

}  // namespace tandem
