#include <algorithm>
#include <utility>

#include "simt/stream.h"

using simt::machine;
using simt::remember;

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, simt::capture_mode_of_thread());
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture) return remember(cudaErrorInvalidValue);
  stream->capture = std::make_shared<simt::Graph>();
  stream->capture_broken = false;
  ++simt::captures_of_thread();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->capture) return remember(cudaErrorInvalidValue);
  const std::shared_ptr<simt::Graph> captured = std::move(stream->capture);
  stream->capture.reset();
  {
    // Streams that joined by an event leave the capture with the one that began it.
    const std::lock_guard lock(machine().mutex);
    for (const auto& [address, other] : machine().streams) {
      if (other->device == stream->device && other->capture == captured) other->capture.reset();
    }
  }
  --simt::captures_of_thread();
  if (stream->capture_broken) return remember(cudaErrorStreamCaptureInvalidated);
  *graph = new simt::Graph(*captured);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = !stream->capture         ? cudaStreamCaptureStatusNone
            : stream->capture_broken ? cudaStreamCaptureStatusInvalidated
                                     : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec =
      new simt::GraphExec{std::make_shared<const std::vector<simt::Operation>>(graph->operations)};
  return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo* info) {
  const auto same = [](const simt::Operation& a, const simt::Operation& b) {
    return a.kind == b.kind;
  };
  const bool fits = std::equal(exec->operations->begin(), exec->operations->end(),
                               graph->operations.begin(), graph->operations.end(), same);
  info->result = fits ? 0 : 1;
  if (!fits) return remember(cudaErrorGraphExecUpdateFailure);
  exec->operations = std::make_shared<const std::vector<simt::Operation>>(graph->operations);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (const cudaError_t error = simt::sticky_error(stream->device); error != cudaSuccess) {
    return remember(error);
  }
  {
    const std::lock_guard lock(machine().mutex);
    ++machine().gpus[static_cast<std::size_t>(stream->device)].counters.graph_launches;
  }
  return stream->push({exec,
                       [operations = exec->operations] {
                         for (const simt::Operation& operation : *operations) {
                           std::string failure = operation.work();
                           if (!failure.empty()) return failure;
                         }
                         return std::string();
                       },
                       true});
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
