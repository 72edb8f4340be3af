#include <algorithm>

#include "support/cuda_gpus.h"
#include "support/reference_model.h"

namespace tandem::test {
namespace {

constexpr int kMostGpus = 64;

int num_gpus() {
  static const int count = [] {
    int found = 0;
    while (found < kMostGpus && create_cuda_device("cuda:" + std::to_string(found), {found}).ok()) {
      ++found;
    }
    return found;
  }();
  return count;
}

}  // namespace

bool can_run_cuda(bool) {
  return num_gpus() > 0;
}

bool cuda_is_emulated() {
  return false;
}

std::function<Result<std::unique_ptr<Device>>(int)> cuda_device_maker(Arithmetic arithmetic) {
  return [arithmetic](int index) {
    CudaDeviceOptions options;
    options.gpu_index = index % num_gpus();
    options.arithmetic = arithmetic;
    return create_cuda_device("cuda:" + std::to_string(options.gpu_index), options);
  };
}

std::vector<std::string> cuda_reference_names() {
  return reference_names();
}

bool has_time_for(const std::string&, const std::string&) {
  return true;
}

bool has_time_to_compare(const std::string&, const std::string&) {
  return true;
}

bool has_time_for_float(const std::string&) {
  return true;
}

std::size_t cuda_num_prompts(Arithmetic, const std::string&) {
  return 4;
}

}  // namespace tandem::test
