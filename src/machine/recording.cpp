#include "machine/recording.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include "machine/assemble.h"
#include "machine/error_counters.h"
#include "machine/recording_kind.h"
#include "machine/same_machine.h"
#include "machine/sources/sysfs.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// One file, or one section of a file that holds the output of several commands.
struct Piece {
  std::string name;
  RecordingKind kind = RecordingKind::kUnknown;
  std::string text;
};

struct Collection {
  std::vector<Piece> pieces;
  std::vector<fs::path> sys_roots;
  std::vector<fs::path> proc_roots;
  std::vector<SourceNote> notes;
  std::size_t total_bytes = 0;
  std::size_t files = 0;
  Clock::time_point deadline;
};

bool is_sys_root(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path / "bus/pci/devices", error);
}

bool is_proc_root(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path / "cpuinfo", error) &&
         fs::is_regular_file(path / "meminfo", error);
}

// Captures that hold many outputs head each with "# $ command" between lines of '#'.
std::vector<Piece> split_sections(const std::string& name, std::string text) {
  if (!contains(std::string_view(text).substr(0, 1 << 16), "\n# $ ")) {
    const RecordingKind kind = recognise_recording(text);
    return {{name, kind, std::move(text)}};
  }
  std::vector<Piece> pieces;
  std::string_view rest = text;
  while (true) {
    const std::size_t at = rest.find("\n# $ ");
    if (at == std::string_view::npos) break;
    rest.remove_prefix(at + 5);
    const std::string_view command = rest.substr(0, std::min(rest.find('\n'), std::size_t{60}));
    const std::string_view body = rest.substr(0, rest.find("\n# $ "));
    // Help texts quote the output of the commands they explain.
    if (contains(command, "help") || contains(command, " -h")) continue;
    const RecordingKind kind = recognise_recording(body);
    if (kind != RecordingKind::kUnknown)
      pieces.push_back({name + " (" + std::string(trim(command)) + ")", kind, std::string(body)});
  }
  if (pieces.empty()) pieces.push_back({name, RecordingKind::kUnknown, {}});
  return pieces;
}

class Collector {
 public:
  Collector(const fs::path& root, const RecordingLimits& limits)
      : root_(root),
        limits_(limits),
        deadline_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                     std::chrono::duration<double>(limits.seconds))) {}

  Collection run() {
    std::error_code error;
    result_.deadline = deadline_;
    if (fs::is_directory(root_, error))
      walk(root_, 0);
    else
      add_file(root_);
    return std::move(result_);
  }

 private:
  static constexpr int kMaxDepth = 32;

  bool out_of_budget() {
    const char* why = result_.files >= limits_.files ? "too many files: the rest was not read"
                      : Clock::now() > deadline_ ? "reading took too long: the rest was not read"
                                                 : nullptr;
    if (why != nullptr && !stopped_) result_.notes.push_back({root_.string(), "recording", why});
    stopped_ = stopped_ || why != nullptr;
    return stopped_;
  }

  void walk(const fs::path& directory, int depth) {
    if (is_sys_root(directory)) {
      result_.sys_roots.push_back(directory);
      return;
    }
    if (is_proc_root(directory)) {
      result_.proc_roots.push_back(directory);
      return;
    }
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    for (fs::directory_iterator it(directory, error), end; !error && it != end;
         it.increment(error)) {
      if (entries.size() > limits_.files) break;
      entries.push_back(*it);
    }
    std::sort(entries.begin(), entries.end());
    for (const fs::directory_entry& entry : entries) {
      if (out_of_budget()) return;
      std::error_code status_error;
      const fs::file_status status = entry.symlink_status(status_error);
      if (status_error) continue;
      if (fs::is_directory(status) && depth < kMaxDepth) walk(entry.path(), depth + 1);
      if (fs::is_regular_file(status)) add_file(entry.path());
      if (fs::is_symlink(status)) note(entry.path(), "a symbolic link: not followed");
    }
  }

  void add_file(const fs::path& path) {
    ++result_.files;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return note(path, "not a regular file");
    const auto size = fs::file_size(path, error);
    if (error) return note(path, "cannot be read");
    if (size > limits_.file_bytes)
      return note(path,
                  "larger than " + std::to_string(limits_.file_bytes >> 20) + " MiB: not read");
    if (result_.total_bytes + size > limits_.total_bytes)
      return note(path, "the recording is too large as a whole: not read");
    result_.total_bytes += size;
    std::ifstream file(path, std::ios::binary);
    std::string bytes(size, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(size));
    bytes.resize(static_cast<std::size_t>(file.gcount()));
    if (bytes.starts_with("\x1F\x8B")) return note(path, "an archive: unpack it first");
    for (Piece& piece : split_sections(name_of_file(path), clean_text(bytes))) {
      if (piece.kind == RecordingKind::kArchive)
        note(path, "an archive: unpack it first");
      else if (piece.kind == RecordingKind::kUnknown)
        note(path, size == 0 ? "empty" : "not known: left out");
      else
        result_.pieces.push_back(std::move(piece));
    }
  }

  std::string name_of_file(const fs::path& path) const {
    const fs::path relative = path == root_ ? path.filename() : path.lexically_relative(root_);
    return clean_text(relative.string());
  }

  void note(const fs::path& path, std::string why) {
    constexpr std::size_t kMaxNotes = 200;
    if (result_.notes.size() < kMaxNotes)
      result_.notes.push_back({name_of_file(path), "", std::move(why)});
  }

  fs::path root_;
  RecordingLimits limits_;
  Clock::time_point deadline_;
  Collection result_;
  bool stopped_ = false;
};

// Mixed recordings must not be judged as one machine; any other damage costs only that file.
bool is_other_machine(const Error& error) {
  return contains(error.what, "another machine");
}

bool bears_a_mark(RecordingKind kind) {
  switch (kind) {
    case RecordingKind::kNvidiaSmiXml:
    case RecordingKind::kNvidiaSmiText:
    case RecordingKind::kLspci:
    case RecordingKind::kLspciTree:
    case RecordingKind::kLstopoXml:
    case RecordingKind::kNcclXml:
    case RecordingKind::kCpuinfo:
    case RecordingKind::kLscpu:
      return true;
    default:
      return false;
  }
}

// What time does not allow to compare with the others must not be mixed with them.
void leave_out(Piece& piece, Collection& collection) {
  piece.kind = RecordingKind::kUnknown;
  collection.notes.push_back(
      {piece.name, "recording", piece.name + ": no time was left to read it"});
}

// Each source is read alone first, so that what it says is not mixed with what others said.
Status check_marks(Collection& collection, const fs::path& root) {
  std::vector<MachineMark> marks;
  const auto check = [&](const Survey& alone, const std::string& name,
                         RecordingKind kind) -> Status {
    MachineMark mark = mark_of(alone, name, kind);
    TANDEM_TRY_STATUS(expect_same_machine(mark, marks));
    marks.push_back(std::move(mark));
    return {};
  };
  for (const fs::path& path : collection.sys_roots) {
    Survey alone;
    SurveyWriter writer(alone, clean_text(path.lexically_relative(root).string()));
    if (read_sysfs(path, writer).ok())
      TANDEM_TRY_STATUS(check(alone, writer.source(), RecordingKind::kUnknown));
  }
  for (Piece& piece : collection.pieces) {
    if (!bears_a_mark(piece.kind)) continue;
    if (Clock::now() > collection.deadline) {
      leave_out(piece, collection);
      continue;
    }
    Survey alone;
    SurveyWriter writer(alone, piece.name);
    if (read_recording(piece.kind, piece.text, writer).ok())
      TANDEM_TRY_STATUS(check(alone, piece.name, piece.kind));
  }
  return {};
}

bool may_be_mixed(const Collection& collection) {
  const auto marked = std::count_if(collection.pieces.begin(), collection.pieces.end(),
                                    [](const Piece& piece) { return bears_a_mark(piece.kind); });
  return static_cast<std::size_t>(marked) + collection.sys_roots.size() > 1;
}

Status read_pieces(Collection& collection, Survey& survey) {
  std::stable_sort(collection.pieces.begin(), collection.pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.kind < b.kind; });
  for (Piece& piece : collection.pieces) {
    if (piece.kind == RecordingKind::kUnknown) continue;
    if (Clock::now() > collection.deadline) {
      leave_out(piece, collection);
      continue;
    }
    SurveyWriter writer(survey, piece.name);
    const Status status = read_recording(piece.kind, piece.text, writer);
    if (!status.ok() && is_other_machine(status.error())) return status;
    survey.sources.push_back({piece.name, std::string(name_of(piece.kind)),
                              status.ok() ? "" : status.error().to_string()});
  }
  return {};
}

// A second tree of the same machine tells which error counters grew. Which of the two is the older
// one shows in the counters themselves; how much time lay between is not known.
void compare_counters(const fs::path& tree, std::optional<ErrorCounters>& earlier, Survey& survey) {
  Survey alone;
  SurveyWriter writer(alone, "");
  if (!read_sysfs(tree, writer).ok()) return;
  ErrorCounters now = error_counters_of(alone);
  now.when = {};
  if (!earlier) {
    earlier = std::move(now);
    return;
  }
  ErrorCounters older = *earlier;
  for (auto& [key, count] : older.counts)
    if (const auto other = now.counts.find(key); other != now.counts.end() && other->second < count)
      std::swap(count, other->second);
  older.when = {};
  add_error_rates(older, now, survey);
}

void read_trees(const Collection& collection, const fs::path& root, Survey& survey) {
  std::optional<ErrorCounters> before;
  const auto read = [&](const fs::path& path, const char* kind,
                        Status (*reader)(const fs::path&, SurveyWriter&)) {
    const std::string name =
        path == root ? path.filename().string() : path.lexically_relative(root).string();
    SurveyWriter writer(survey, clean_text(name));
    const Status status = reader(path, writer);
    survey.sources.push_back(
        {writer.source(), kind, status.ok() ? "" : status.error().to_string()});
  };
  for (const fs::path& path : collection.sys_roots) {
    read(path, "/sys tree", read_sysfs);
    compare_counters(path, before, survey);
  }
  for (const fs::path& path : collection.proc_roots) read(path, "/proc tree", read_proc);
}

// Tables that only number the cards, beside a PCI list with another number of them.
void note_other_count(Survey& survey) {
  const auto on_bus = std::count_if(survey.pci.begin(), survey.pci.end(), [](const auto& item) {
    return item.second.vendor_id == kVendorNvidia && item.second.is_compute_gpu();
  });
  const bool numbered_only =
      std::none_of(survey.gpus.begin(), survey.gpus.end(),
                   [](const GpuFacts& gpu) { return gpu.address.has_value(); });
  const auto numbered = static_cast<std::ptrdiff_t>(survey.gpus.size());
  if (numbered == 0 || on_bus == 0 || !numbered_only || numbered == on_bus) return;
  survey.conflicts.push_back({"machine", "number of NVIDIA GPUs",
                              "driver: " + std::to_string(numbered),
                              "PCI: " + std::to_string(on_bus)});
}

bool knows_anything(const Survey& survey) {
  return std::any_of(survey.sources.begin(), survey.sources.end(), [](const SourceNote& source) {
    return !source.kind.empty() && source.kind != "recording" && source.note.empty();
  });
}

std::string what_was_found(const Survey& survey) {
  if (survey.sources.empty()) return "an empty folder";
  std::string text;
  for (std::size_t i = 0; i < survey.sources.size() && i < 3; ++i)
    text += (i == 0 ? "" : "; ") + survey.sources[i].name + ": " + survey.sources[i].note;
  if (survey.sources.size() > 3)
    text += "; and " + std::to_string(survey.sources.size() - 3) + " more";
  return text;
}

}  // namespace

Result<Survey> read_recording_folder(const fs::path& path, const RecordingLimits& limits) {
  std::error_code error;
  if (!fs::exists(path, error))
    return Error{
        ErrorCode::kMalformed, "no such folder", path.string(), "a folder of recordings", {}};
  Collection collection = Collector(path, limits).run();
  if (may_be_mixed(collection))
    if (Status status = check_marks(collection, path); !status.ok())
      return status.error().at(path.string());
  Survey survey;
  read_trees(collection, path, survey);
  if (Status status = read_pieces(collection, survey); !status.ok())
    return status.error().at(path.string());
  survey.sources.insert(survey.sources.end(), collection.notes.begin(), collection.notes.end());
  if (!knows_anything(survey))
    return malformed(
        path.string(), "no recording that Tandem knows",
        "output of nvidia-smi -q -x, topo -m, lspci -vvv, lstopo, dmidecode, or a /sys tree",
        what_was_found(survey));
  note_other_count(survey);
  TANDEM_TRY_STATUS(assemble_machine(survey));
  return survey;
}

}  // namespace tandem
