#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "device/cuda/cuda_api.h"

namespace tandem::cuda {

// Device memory of a test. Fresh memory is 0xff: NaN as a float, -1 as an index.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t count) : count_(count) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T) + 1;
    EXPECT_EQ(cudaMalloc(&data_, bytes), cudaSuccess);
    EXPECT_EQ(cudaMemset(data_, 0xff, bytes), cudaSuccess);
  }
  explicit DeviceArray(std::span<const T> values)
      : DeviceArray(static_cast<std::int64_t>(values.size())) {
    copy_from(values.data());
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(std::span<const T>(values)) {}
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::int64_t size() const { return count_; }
  void copy_from(const T* values) {
    const auto bytes = static_cast<std::size_t>(count_) * sizeof(T);
    EXPECT_EQ(cudaMemcpy(data_, values, bytes, cudaMemcpyHostToDevice), cudaSuccess);
  }
  std::vector<T> to_host() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    EXPECT_EQ(cudaMemcpy(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }

 private:
  T* data_ = nullptr;
  std::int64_t count_ = 0;
};

class TestStream {
 public:
  TestStream() {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
  }
  ~TestStream() { cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }
  void expect_done() { ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess); }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace tandem::cuda
