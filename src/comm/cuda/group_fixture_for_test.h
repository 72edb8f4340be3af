#pragma once

#include <gtest/gtest.h>
#include <simt/runtime.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "comm/cuda/cuda_group.h"
#include "device/cuda/cuda_stream.h"

namespace tandem {

inline constexpr std::int64_t kDeadlineUs = 60'000'000;

// Devices of `size` ranks on the emulated machine; where it has fewer GPUs, ranks share them.
inline std::vector<std::unique_ptr<Device>> open_devices(int size, int num_gpus) {
  std::vector<std::unique_ptr<Device>> devices;
  for (int rank = 0; rank < size; ++rank) {
    CudaDeviceOptions options;
    options.gpu_index = rank % num_gpus;
    auto device = create_cuda_device("cuda:" + std::to_string(options.gpu_index), options);
    EXPECT_TRUE(device.ok()) << device.error().to_string();
    devices.push_back(std::move(device).value());
  }
  return devices;
}

// A group on an emulated machine of its own.
class Group {
 public:
  explicit Group(int size, const CudaGroupOptions& options = {},
                 simt::MachineOptions machine = {}) {
    machine.num_gpus = std::min(size, machine.num_gpus);
    simt::set_machine(machine);
    devices_ = open_devices(size, machine.num_gpus);
    std::vector<Device*> pointers;
    for (const auto& device : devices_) pointers.push_back(device.get());
    auto group = create_cuda_group(pointers, options);
    EXPECT_TRUE(group.ok()) << group.error().to_string();
    if (group.ok()) group_ = std::move(group).value();
  }

  int size() const { return static_cast<int>(group_.seats.size()); }
  GpuTransport transport() const { return group_.transport; }
  const std::vector<std::string>& notes() const { return group_.notes; }

  using Rank = std::function<void(Communicator&, Device&, Stream&)>;
  // Runs `body` as every rank, each on its own thread and stream.
  void run(const Rank& body) {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < group_.seats.size(); ++i) {
      threads.emplace_back([&, i] {
        devices_[i]->bind_thread();
        const auto stream = devices_[i]->create_stream();
        body(*group_.seats[i], *devices_[i], *stream);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  std::vector<std::unique_ptr<Device>> devices_;
  CudaGroup group_;
};

inline std::vector<float> contribution(int rank, std::int64_t count) {
  std::mt19937 generator(static_cast<unsigned>(rank + 1));
  std::uniform_real_distribution<float> distribution(-1, 1);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = distribution(generator);
  return values;
}

// x of a rank in device memory, rows `stride` floats apart, with what lies between left alone.
struct Matrix {
  Matrix(Device& device, Stream& stream, const std::vector<float>& values, std::int64_t rows,
         std::int64_t columns, std::int64_t stride)
      : memory(device.allocate(std::max<std::int64_t>(4, rows * stride * 4)).value()),
        x{memory->floats(), rows, columns, stride},
        host(static_cast<std::size_t>(rows * stride), 99.0f) {
    for (std::int64_t row = 0; row < rows; ++row) {
      std::copy_n(values.begin() + row * columns, columns, host.begin() + row * stride);
    }
    stream.copy_to_device(memory->data(), host.data(), rows * stride * 4);
  }
  // The values; blocks.
  std::vector<float> read(Stream& stream) {
    stream.copy_to_host(host.data(), memory->data(), static_cast<std::int64_t>(host.size()) * 4);
    const Status status = stream.synchronize(kDeadlineUs);
    EXPECT_TRUE(status.ok()) << status.error().to_string();
    std::vector<float> values;
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const auto begin = host.begin() + row * x.row_stride;
      values.insert(values.end(), begin, begin + x.columns);
      for (std::int64_t i = x.columns; i < x.row_stride; ++i) EXPECT_EQ(begin[i], 99.0f);
    }
    return values;
  }

  std::unique_ptr<Buffer> memory;
  MatrixView x;
  std::vector<float> host;
};

// What follows on the stream runs so much later, or once `heard` is ready (20 s at most).
inline void hold_up(Stream& stream, int milliseconds) {
  const auto sleep = [](void* argument) {
    const auto time = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
    std::this_thread::sleep_for(std::chrono::milliseconds(time));
  };
  EXPECT_EQ(cudaLaunchHostFunc(cuda::cuda_stream_of(stream).context().stream, sleep,
                               reinterpret_cast<void*>(std::intptr_t{milliseconds})),
            cudaSuccess);
}
inline void hold_up_until(Stream& stream, std::future<void>& heard) {
  const auto wait = [](void* future) {
    EXPECT_EQ(static_cast<std::future<void>*>(future)->wait_for(std::chrono::seconds(20)),
              std::future_status::ready);
  };
  EXPECT_EQ(cudaLaunchHostFunc(cuda::cuda_stream_of(stream).context().stream, wait, &heard),
            cudaSuccess);
}

// As every algorithm adds.
inline std::vector<float> sum_in_order(int size, std::int64_t count) {
  std::vector<float> sum = contribution(0, count);
  for (int rank = 1; rank < size; ++rank) {
    const auto next = contribution(rank, count);
    for (std::size_t i = 0; i < next.size(); ++i) sum[i] += next[i];
  }
  return sum;
}

inline CudaGroupOptions options_for(ReduceAlgorithm algorithm, GpuTransport transport) {
  CudaGroupOptions options;
  options.deadline_us = kDeadlineUs;
  options.algorithm = algorithm;
  options.transport = transport;
  return options;
}

}  // namespace tandem
