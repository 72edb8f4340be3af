#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tandem {

// Spans of time on named tracks, written to a file in the trace event format that chrome://tracing
// and Perfetto read (a JSON array; its closing bracket may be missing). Any thread.
class TraceWriter {
 public:
  // Overwrites the file. Errors: kIo.
  static Result<std::shared_ptr<TraceWriter>> create(const std::string& path);
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  // A new track under the others. Returns its number.
  std::int32_t add_track(std::string_view name);
  // A span that is over. Times: monotonic_ns(). arguments: the members of a JSON object
  // ("\"n\":1"), shown with the span; may be empty.
  void add_span(std::int32_t track, std::string_view name, std::int64_t begin_ns,
                std::int64_t end_ns, std::string_view arguments = {});

 private:
  explicit TraceWriter(std::FILE* file) : file_(file) {}
  void write(std::string_view event);

  std::mutex mutex_;
  std::FILE* file_;              // guarded by mutex_
  std::int32_t num_tracks_ = 0;  // guarded by mutex_
  bool has_events_ = false;      // guarded by mutex_
  std::int64_t flushed_ns_ = 0;  // guarded by mutex_
};

}  // namespace tandem
