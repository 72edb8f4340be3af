#include "fleet/worker_log.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace tandem {

WorkerLog::WorkerLog(std::string file, bool echoes) : path_(std::move(file)), echoes_(echoes) {}

void WorkerLog::append(const std::string& source, std::string_view output) {
  std::string& line = unfinished_[source];
  while (!output.empty()) {
    const std::size_t end = output.find('\n');
    const std::string_view part = output.substr(0, end);
    if (line.size() < kMaxLineBytes) line += part.substr(0, kMaxLineBytes - line.size());
    if (end == std::string_view::npos) return;
    output.remove_prefix(end + 1);
    add(source + ": " + std::exchange(line, {}) + "\n");
  }
}

void WorkerLog::note(const std::string& line) {
  add("fleet: " + line + "\n");
}

std::string WorkerLog::text() const {
  std::string text;
  text.reserve(bytes_);
  for (const std::string& line : lines_) text += line;
  return text;
}

std::uint64_t WorkerLog::subscribe(std::function<void(const std::string& line)> listener) {
  listeners_.emplace(next_listener_, std::move(listener));
  return next_listener_++;
}

void WorkerLog::add(std::string line) {
  if (echoes_) std::fwrite(line.data(), 1, line.size(), stderr);
  write(line);
  // A copy: a listener may unsubscribe itself.
  const auto listeners = listeners_;
  for (const auto& [id, listener] : listeners) listener(line);
  bytes_ += line.size();
  lines_.push_back(std::move(line));
  while (bytes_ > kMaxBytes) {
    bytes_ -= lines_.front().size();
    lines_.pop_front();
  }
}

void WorkerLog::write(const std::string& line) {
  if (path_.empty()) return;
  if (file_ && file_bytes_ + line.size() > kMaxFileBytes) {
    file_.reset();
    std::rename(path_.c_str(), (path_ + ".1").c_str());
  }
  if (!file_) {
    file_.reset(std::fopen(path_.c_str(), "ae"));
    if (!file_) {
      spdlog::error("{} cannot be written: {}; workers' lines are kept in memory alone", path_,
                    std::strerror(errno));
      path_.clear();
      return;
    }
    std::fseek(file_.get(), 0, SEEK_END);
    file_bytes_ = static_cast<std::size_t>(std::max(0L, std::ftell(file_.get())));
  }
  std::fwrite(line.data(), 1, line.size(), file_.get());
  std::fflush(file_.get());
  file_bytes_ += line.size();
}

}  // namespace tandem
