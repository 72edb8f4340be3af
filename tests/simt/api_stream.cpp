#include <cstring>

#include "simt/stream.h"

using simt::machine;
using simt::remember;

namespace {

// Copies that work off in the order of the stream; `kind` as in Operation.
cudaError_t push_copy(cudaStream_t stream, const void* kind, std::function<void()> copy) {
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = simt::sticky_error(stream->device); error != cudaSuccess) {
    return remember(error);
  }
  {
    const std::lock_guard lock(machine().mutex);
    ++machine().gpus[static_cast<std::size_t>(stream->device)].counters.copies;
  }
  return stream->push({kind,
                       [copy = std::move(copy)] {
                         copy();
                         return std::string();
                       },
                       true});
}

template <auto tag>
const void* kind_of() {
  static const char place = 0;
  return &place;
}

// A wait of the calling thread inside a capture breaks the capture.
bool capture_forbids(cudaStream_t stream) {
  if (!stream->capture) return false;
  stream->capture_broken = true;
  return true;
}

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return push_copy(stream, kind_of<&cudaMemcpyAsync>(), [=] {
    if (bytes > 0 && !simt::store_is_lost(to)) std::memmove(to, from, bytes);
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return remember(cudaErrorInvalidValue);
  return push_copy(stream, kind_of<&cudaMemcpy2DAsync>(), [=] {
    for (std::size_t row = 0; row < height; ++row) {
      std::memmove(static_cast<char*>(to) + row * to_pitch,
                   static_cast<const char*>(from) + row * from_pitch, width);
    }
  });
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes,
                                cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return push_copy(stream, kind_of<&cudaMemsetAsync>(), [=] {
    if (bytes > 0) std::memset(memory, value, bytes);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (simt::captures_of_thread() > 0) return remember(cudaErrorStreamCaptureUnsupported);
  const int device = simt::current_device();
  simt::count_host_wait(device);
  simt::synchronize_streams_of(device);
  if (bytes > 0) std::memmove(to, from, bytes);
  return remember(simt::sticky_error(device));
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  simt::count_host_wait(simt::current_device());
  simt::synchronize_streams_of(simt::current_device());
  if (bytes > 0) std::memset(memory, value, bytes);
  return remember(simt::sticky_error(simt::current_device()));
}

cudaError_t cudaDeviceSynchronize() {
  simt::count_host_wait(simt::current_device());
  simt::synchronize_streams_of(simt::current_device());
  return remember(simt::sticky_error(simt::current_device()));
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const cudaError_t error = simt::sticky_error(simt::current_device());
  if (error != cudaSuccess) return remember(error);
  auto created = std::make_shared<simt::Stream>(simt::current_device());
  *stream = created.get();
  const std::lock_guard lock(machine().mutex);
  machine().streams[*stream] = std::move(created);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  std::shared_ptr<simt::Stream> leaving;
  {
    const std::lock_guard lock(machine().mutex);
    const auto found = machine().streams.find(stream);
    if (found == machine().streams.end()) return remember(cudaErrorInvalidResourceHandle);
    leaving = std::move(found->second);
    machine().streams.erase(found);
  }
  leaving->finish();
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (capture_forbids(stream)) return remember(cudaErrorStreamCaptureUnsupported);
  if (!stream->idle()) simt::count_host_wait(stream->device);
  return remember(stream->synchronize());
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (capture_forbids(stream)) return remember(cudaErrorStreamCaptureUnsupported);
  const cudaError_t error = simt::sticky_error(stream->device);
  if (error != cudaSuccess) return remember(error);
  if (!stream->idle()) return cudaErrorNotReady;
  const std::lock_guard lock(machine().mutex);
  ++machine().gpus[static_cast<std::size_t>(stream->device)].host.idle_answers;
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
  return push_copy(stream, reinterpret_cast<const void*>(function), [=] { function(argument); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new simt::Event;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream->capture) {
    event->capture = stream->capture;
    return cudaSuccess;
  }
  event->capture.reset();
  auto state = std::make_shared<simt::EventState>();
  event->state = state;
  return stream->push({kind_of<&cudaEventRecord>(),
                       [state, device = stream->device] {
                         state->finish(simt::sticky_error(device));
                         return std::string();
                       },
                       false});
}

// Inside a capture the graph's operations are kept in the order of their calls, which satisfies
// every dependency between its streams: a stream that waits for an event of the capture joins it.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (event->capture) {
    stream->capture = event->capture;
    return cudaSuccess;
  }
  if (!event->state) return cudaSuccess;
  return stream->push({kind_of<&cudaStreamWaitEvent>(),
                       [state = event->state] {
                         (void)state->wait();
                         return std::string();
                       },
                       false});
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (!event->state) return cudaSuccess;
  const std::lock_guard lock(event->state->mutex);
  if (!event->state->done) return cudaErrorNotReady;
  return remember(event->state->error);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->capture) return remember(cudaErrorStreamCaptureUnsupported);
  if (!event->state) return cudaSuccess;
  if (cudaEventQuery(event) == cudaErrorNotReady) simt::count_host_wait(simt::current_device());
  return remember(event->state->wait());
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (!start->state || !end->state) return remember(cudaErrorInvalidResourceHandle);
  if (cudaEventQuery(start) == cudaErrorNotReady || cudaEventQuery(end) == cudaErrorNotReady) {
    return cudaErrorNotReady;
  }
  const std::chrono::duration<float, std::milli> elapsed = end->state->time - start->state->time;
  *milliseconds = elapsed.count();
  return cudaSuccess;
}
