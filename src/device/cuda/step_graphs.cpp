#include "device/cuda/step_graphs.h"

#include "device/cuda/cuda_error.h"

namespace tandem::cuda {

StepGraphs::~StepGraphs() {
  for (const auto& [key, graph] : graphs_) {
    if (graph != nullptr) (void)cudaGraphExecDestroy(graph);
  }
}

Status StepGraphs::begin(cudaStream_t stream, std::uint64_t key) {
  if (!graphs_.contains(key)) {
    if (graphs_.size() < kMaxKeys) graphs_[key] = nullptr;
    return {};
  }
  key_ = key;
  TANDEM_CUDA_TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                  "cannot record a step");
  recording_ = true;
  return {};
}

Status StepGraphs::end(cudaStream_t stream) {
  if (!recording_) return {};
  recording_ = false;
  cudaGraph_t graph = nullptr;
  TANDEM_CUDA_TRY(cudaStreamEndCapture(stream, &graph), "cannot record a step");
  Status status = start(stream, graph);
  (void)cudaGraphDestroy(graph);
  return status;
}

Status StepGraphs::start(cudaStream_t stream, cudaGraph_t graph) {
  cudaGraphExec_t& exec = graphs_[key_];
  if (exec != nullptr) {
    cudaGraphExecUpdateResultInfo info;
    if (cudaGraphExecUpdate(exec, graph, &info) != cudaSuccess) {
      (void)cudaGetLastError();  // other kernels: no error of anybody
      (void)cudaGraphExecDestroy(exec);
      exec = nullptr;
    }
  }
  if (exec == nullptr) {
    TANDEM_CUDA_TRY(cudaGraphInstantiate(&exec, graph, 0), "cannot make a graph of a step");
  }
  ++num_launches_;
  return status_of(cudaGraphLaunch(exec, stream), "cannot start a recorded step");
}

}  // namespace tandem::cuda
