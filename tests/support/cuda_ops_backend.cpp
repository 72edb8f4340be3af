// The op tests on a CUDA device: a real one, or the emulated one where that is linked.
#include "device/ops_backend.h"
#include "support/cuda_gpus.h"
#include "support/host_memory_stream.h"

namespace tandem {
namespace {

struct OwnedStream {
  explicit OwnedStream(std::unique_ptr<Device> owned) : device(std::move(owned)), stream(*device) {}
  std::unique_ptr<Device> device;
  test::HostMemoryStream stream;
};

}  // namespace

std::vector<OpsBackend> ops_backends() {
  OpsBackend backend;
  backend.name = "cuda";
  if (!test::can_run_cuda(false)) backend.why_not = "no GPU here: nothing of this was run on one";
  backend.make_stream = [](bool) {
    auto device = test::cuda_device_maker(Arithmetic::kFloat)(0);
    const auto owned = std::make_shared<OwnedStream>(std::move(device).value());
    return std::shared_ptr<Stream>(owned, &owned->stream);
  };
  return {backend};
}

}  // namespace tandem
