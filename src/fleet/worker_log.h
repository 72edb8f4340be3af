#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace tandem {

// The last lines of what a model's workers said: bounded in memory, and in a file where one is
// given. One thread.
class WorkerLog {
 public:
  static constexpr std::size_t kMaxBytes = 256 * 1024;    // kept in memory
  static constexpr std::size_t kMaxLineBytes = 4 * 1024;  // longer lines are cut
  static constexpr std::size_t kMaxFileBytes = 16 << 20;  // then the file becomes FILE.1

  // file: empty for none. One that cannot be written is said once and then left. echoes: every line
  // goes to standard error as well.
  explicit WorkerLog(std::string file = {}, bool echoes = false);

  // Takes output as it comes, in pieces of any size; `source` goes before each of its lines.
  void append(const std::string& source, std::string_view output);
  // A line of the fleet's own.
  void note(const std::string& line);

  // All that is kept, the oldest first, each with its line break.
  std::string text() const;

  // Calls `listener` with every further line. Returns what unsubscribe() wants.
  std::uint64_t subscribe(std::function<void(const std::string& line)> listener);
  void unsubscribe(std::uint64_t id) { listeners_.erase(id); }

 private:
  void add(std::string line);
  void write(const std::string& line);

  std::string path_;
  bool echoes_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, &std::fclose};
  std::size_t file_bytes_ = 0;
  std::map<std::string, std::string> unfinished_;  // by source
  std::deque<std::string> lines_;
  std::size_t bytes_ = 0;
  std::map<std::uint64_t, std::function<void(const std::string&)>> listeners_;
  std::uint64_t next_listener_ = 1;
};

}  // namespace tandem
