#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "device/device.h"

namespace tandem {

// Half the distance from 1 to the next float: the relative error of one rounding.
inline constexpr double kRounding = 1.0 / (1 << 24);

// Where the op tests run. A test program lists its own: the CPU's instruction sets, an emulated
// GPU, a real one.
struct OpsBackend {
  std::string name;
  std::string why_not;  // why it cannot run here; empty: it can
  // A stream whose ops take host memory, and a second one that works with fewer threads.
  std::function<std::shared_ptr<Stream>(bool serial)> make_stream;
};
std::vector<OpsBackend> ops_backends();

inline void PrintTo(const OpsBackend& backend, std::ostream* out) {
  *out << backend.name;
}

class OpsTest : public testing::TestWithParam<OpsBackend> {
 protected:
  void SetUp() override {
    if (!GetParam().why_not.empty()) GTEST_SKIP() << GetParam().why_not;
    stream_ = GetParam().make_stream(false);
    serial_stream_ = GetParam().make_stream(true);
  }

  Stream& stream() { return *stream_; }
  Stream& serial_stream() { return *serial_stream_; }

  std::vector<float> random(std::int64_t count, float largest = 1.0f) {
    std::uniform_real_distribution<float> distribution(-largest, largest);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = distribution(generator_);
    return values;
  }

  std::mt19937 generator_{7};

 private:
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<Stream> serial_stream_;
};

#define TANDEM_FOR_EVERY_BACKEND(suite)                                    \
  INSTANTIATE_TEST_SUITE_P(Sets, suite, testing::ValuesIn(ops_backends()), \
                           [](const auto& param) { return param.param.name; })

}  // namespace tandem
