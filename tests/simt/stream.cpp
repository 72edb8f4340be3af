#include "simt/stream.h"

#include <cstdio>
#include <cstring>

#include "simt/hang.h"

namespace simt {
namespace {

// Whether this operation is the one that an injected error strikes.
bool strikes(Gpu& gpu) {
  if (gpu.injected_after < 0) return false;
  if (gpu.injected_after-- > 0) return false;
  gpu.sticky = gpu.injected;
  return true;
}

// Whether this operation, or one of the device before it, hangs.
bool hangs(Gpu& gpu) {
  if (gpu.hangs_after > 0) --gpu.hangs_after;
  return gpu.hangs_after == 0;
}

}  // namespace

void inject_hang(int device, int after) {
  const std::lock_guard lock(machine().mutex);
  // One more: counted down before it is looked at.
  machine().gpus[static_cast<std::size_t>(device)].hangs_after = after + 1;
}

void release_hangs() {
  const std::lock_guard lock(machine().mutex);
  for (Gpu& gpu : machine().gpus) gpu.hangs_after = -1;
  machine().released.notify_all();
}

void EventState::finish(cudaError_t result) {
  const std::lock_guard lock(mutex);
  done = true;
  error = result;
  time = std::chrono::steady_clock::now();
  changed.notify_all();
}

cudaError_t EventState::wait() {
  std::unique_lock lock(mutex);
  changed.wait(lock, [this] { return done; });
  return error;
}

cudaError_t sticky_error(int device) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  return all.gpus[static_cast<std::size_t>(device)].sticky;
}

Stream::Stream(int on_device) : device(on_device), thread_([this] { run(); }) {}

void Stream::finish() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    more_.notify_all();
  }
  thread_.join();
}

cudaError_t Stream::push(Operation operation) {
  if (capture) {
    capture->operations.push_back(std::move(operation));
    return cudaSuccess;
  }
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(operation));
  ++pushed_;
  more_.notify_one();
  return cudaSuccess;
}

cudaError_t Stream::synchronize() {
  {
    std::unique_lock lock(mutex_);
    const std::int64_t wanted = pushed_;
    less_.wait(lock, [&] { return finished_ >= wanted; });
  }
  return sticky_error(device);
}

bool Stream::idle() {
  const std::lock_guard lock(mutex_);
  return finished_ == pushed_;
}

void Stream::run() {
  current_device() = device;
  for (;;) {
    Operation operation;
    {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      operation = std::move(queue_.front());
      queue_.pop_front();
    }
    execute(operation);
    operation = {};
    const std::lock_guard lock(mutex_);
    ++finished_;
    less_.notify_all();
  }
}

// After an error of the device nothing is executed any more, but events still complete.
void Stream::execute(const Operation& operation) {
  Machine& all = machine();
  {
    std::unique_lock lock(all.mutex);
    Gpu& gpu = all.gpus[static_cast<std::size_t>(device)];
    if (operation.counts_as_kernel && hangs(gpu)) {
      all.released.wait(lock, [&gpu] { return gpu.hangs_after < 0; });
    }
    if (operation.counts_as_kernel && (gpu.sticky != cudaSuccess || strikes(gpu))) return;
  }
  const std::string failure = operation.work();
  if (failure.empty()) return;
  std::fprintf(stderr, "emulated GPU %d: %s\n", device, failure.c_str());
  const std::lock_guard lock(all.mutex);
  all.last_failure = failure;
  Gpu& gpu = all.gpus[static_cast<std::size_t>(device)];
  if (gpu.sticky == cudaSuccess) gpu.sticky = cudaErrorLaunchFailure;
}

void synchronize_streams_of(int device) {
  // Kept alive here: another thread, whose streams share the device, may destroy one meanwhile.
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(machine().mutex);
    for (const auto& [address, stream] : machine().streams) {
      if (stream->device == device) streams.push_back(stream);
    }
  }
  for (const auto& stream : streams) (void)stream->synchronize();
}

cudaError_t enqueue(cudaStream_t stream, const void* kind, std::function<std::string()> work) {
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (cudaError_t error = sticky_error(stream->device); error != cudaSuccess)
    return remember(error);
  {
    const std::lock_guard lock(machine().mutex);
    ++machine().gpus[static_cast<std::size_t>(stream->device)].counters.kernels;
  }
  return stream->push({kind, std::move(work), true});
}

}  // namespace simt
