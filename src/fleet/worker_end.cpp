#include "fleet/worker_end.h"

#include <algorithm>
#include <cctype>

namespace tandem {
namespace {

std::string_view last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const std::size_t begin = text.rfind('\n');
  return begin == std::string_view::npos ? text : text.substr(begin + 1);
}

// Where `name` stands in `line` as a word: "cuda:1" is not in "cuda:10".
std::size_t place_of(std::string_view name, std::string_view line) {
  for (std::size_t at = line.find(name); at != std::string_view::npos;
       at = line.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    if (end == line.size() || std::isdigit(static_cast<unsigned char>(line[end])) == 0) return at;
  }
  return std::string_view::npos;
}

// An error begins with its own device; others may follow in its words.
std::string first_named(const std::vector<std::string>& devices, std::string_view line) {
  std::size_t first = std::string_view::npos;
  std::string found = "a device";
  for (const std::string& device : devices) {
    const std::size_t at = place_of(device, line);
    if (at == std::string_view::npos || at > first) continue;
    if (at == first && device.size() < found.size()) continue;  // "cuda:0" of "cuda:0#1"
    first = at;
    found = device;
  }
  return found;
}

}  // namespace

WorkerEnd judge_end(const WorkerExit& exit, std::string_view last_words,
                    const WorkerExitCodes& codes, const std::vector<std::string>& devices) {
  const std::string_view line = last_line(last_words);
  WorkerEnd end;
  end.reason = "ended with " + exit.to_string();
  if (!line.empty()) end.reason.append(": ").append(line);
  if (exit.by_signal) return end;
  end.is_fatal = std::ranges::find(codes.fatal, exit.code) != codes.fatal.end();
  if (codes.device_failed != 0 && exit.code == codes.device_failed) {
    end.failed_device = first_named(devices, line);
    end.reason = end.failed_device + " failed under it; it " + end.reason;
  }
  return end;
}

}  // namespace tandem
