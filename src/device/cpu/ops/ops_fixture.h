#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "device/cpu/cpu_stream.h"
#include "device/cpu/instruction_set.h"
#include "device/cpu/thread_pool.h"
#include "device/ops_backend.h"

namespace tandem {

// The ops of one instruction set on a pool of three threads that need no cores of their own.
class CpuOpsTest : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    if (GetParam() > best_instruction_set()) GTEST_SKIP() << "this processor has no such kernels";
  }

  CpuStream& stream() { return stream_; }
  CpuStream& serial_stream() { return serial_stream_; }

  std::vector<float> random(std::int64_t count, float largest = 1.0f) {
    std::uniform_real_distribution<float> distribution(-largest, largest);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = distribution(generator_);
    return values;
  }

  std::mt19937 generator_{7};

 private:
  ThreadPool pool_{{0, 0, 0}, false};
  ThreadPool serial_pool_{{0}, false};
  CpuStream stream_{pool_, Arithmetic::kInt8, usable(GetParam())};
  CpuStream serial_stream_{serial_pool_, Arithmetic::kInt8, usable(GetParam())};

  static InstructionSet usable(InstructionSet set) {
    return set > best_instruction_set() ? InstructionSet::kPortable : set;
  }
};

inline std::string instruction_set_name(const testing::TestParamInfo<InstructionSet>& info) {
  return std::string(name_of(info.param));
}

#define TANDEM_FOR_EVERY_INSTRUCTION_SET(suite)                                                   \
  INSTANTIATE_TEST_SUITE_P(                                                                       \
      Sets, suite,                                                                                \
      testing::Values(InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512), \
      instruction_set_name)

}  // namespace tandem
