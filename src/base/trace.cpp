#include "base/trace.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace tandem {
namespace {

// What a program that is killed may lose.
constexpr std::int64_t kFlushNs = 1'000'000'000;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

}  // namespace

Result<std::shared_ptr<TraceWriter>> TraceWriter::create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return Error{ErrorCode::kIo, "the trace cannot be written", path, {}, std::strerror(errno)};
  }
  // By the line, and so by the event: what a killed program leaves can be read.
  std::setvbuf(file, nullptr, _IOLBF, std::size_t{64} * 1024);
  return std::shared_ptr<TraceWriter>(new TraceWriter(file));
}

TraceWriter::~TraceWriter() {
  std::fputs(has_events_ ? "\n]\n" : "[]\n", file_);
  std::fclose(file_);
}

std::int32_t TraceWriter::add_track(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const std::int32_t track = ++num_tracks_;
  write(fmt::format(R"({{"ph":"M","pid":1,"tid":{},"name":"thread_name","args":{{"name":{}}}}})",
                    track, quoted(name)));
  write(fmt::format(
      R"({{"ph":"M","pid":1,"tid":{},"name":"thread_sort_index","args":{{"sort_index":{}}}}})",
      track, track));
  return track;
}

void TraceWriter::add_span(std::int32_t track, std::string_view name, std::int64_t begin_ns,
                           std::int64_t end_ns, std::string_view arguments) {
  const std::string event = fmt::format(
      R"({{"ph":"X","pid":1,"tid":{},"name":{},"ts":{:.3f},"dur":{:.3f},"args":{{{}}}}})", track,
      quoted(name), double(begin_ns) / 1000, double(end_ns - begin_ns) / 1000, arguments);
  const std::lock_guard lock(mutex_);
  write(event);
  if (end_ns - flushed_ns_ < kFlushNs) return;
  flushed_ns_ = end_ns;
  std::fflush(file_);
}

void TraceWriter::write(std::string_view event) {
  std::fputs(has_events_ ? ",\n" : "[\n", file_);
  has_events_ = true;
  std::fwrite(event.data(), 1, event.size(), file_);
}

}  // namespace tandem
