// Memory, streams, staging and errors of a CUDA device, on the emulated GPU and on real ones.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "device/device.h"
#include "device/logit_picker.h"
#include "support/cuda_gpus.h"

namespace tandem::test {
namespace {

constexpr std::int64_t kDeadlineUs = 60'000'000;

class CudaDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_run_cuda(false)) GTEST_SKIP() << "no GPU here: nothing of this was run on one";
  }

  static std::unique_ptr<Device> open(std::int64_t arena_bytes, int num_parts = 1) {
    CudaDeviceOptions options;
    options.arena_bytes = arena_bytes;
    options.num_parts = num_parts;
    auto device = create_cuda_device("cuda:0", options);
    EXPECT_TRUE(device.ok()) << device.error().to_string();
    return std::move(device).value();
  }
};

TEST_F(CudaDeviceTest, ThereIsNoGpuOfThisNumber) {
  CudaDeviceOptions options;
  options.gpu_index = 1000;
  const auto device = create_cuda_device("cuda:1000", options);
  ASSERT_FALSE(device.ok());
  EXPECT_EQ(device.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(exit_code_of(device.error().code), 2);
  EXPECT_EQ(device.error().where, "cuda:1000");
}

TEST_F(CudaDeviceTest, BuffersAreCutFromTheArenaAndGivenBack) {
  const auto device = open(1 << 20);
  auto a = device->allocate(300'000);
  auto b = device->allocate(300'001);
  auto c = device->allocate(300'000);
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_EQ((*b)->size_bytes(), 300'001);
  const auto* first = static_cast<std::byte*>((*a)->data());
  const auto* second = static_cast<std::byte*>((*b)->data());
  EXPECT_EQ(second - first, 300'032);  // 256-byte aligned
  // What is given back is cut again, and neighbours become one.
  a = device->allocate(0);
  b = device->allocate(0);
  auto both = device->allocate(600'000);
  ASSERT_TRUE(both.ok());
  EXPECT_EQ((*both)->data(), first);
}

TEST_F(CudaDeviceTest, WhatDoesNotFitTheArenaLiesBesideIt) {
  const auto device = open(1 << 20);
  auto inside = device->allocate(1 << 19);
  auto beside = device->allocate(1 << 20);
  ASSERT_TRUE(inside.ok() && beside.ok());
}

TEST_F(CudaDeviceTest, TooMuchIsATypedError) {
  const auto device = open(0);
  const auto buffer = device->allocate(device->info().memory_bytes + (1 << 20));
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.error().code, ErrorCode::kOutOfMemory);
  EXPECT_FALSE(buffer.error().got.empty());
}

TEST_F(CudaDeviceTest, PartsOfAGpuHaveTheirShareOfItsMemory) {
  const auto whole = open(0);
  const auto half = open(0, 2);
  EXPECT_EQ(half->info().memory_bytes, whole->info().memory_bytes / 2);
  EXPECT_FALSE(half->allocate(half->info().memory_bytes + 1024).ok());
}

// The host's memory may change once the call has returned for what the device stages, and copies
// back arrive with the wait.
TEST_F(CudaDeviceTest, CopiesKeepTheirOrder) {
  const auto device = open(0);
  const auto stream = device->create_stream();
  std::vector<float> host(5000);
  std::iota(host.begin(), host.end(), 0.0f);
  const auto bytes = static_cast<std::int64_t>(host.size() * sizeof(float));
  auto buffer = device->allocate(bytes);
  ASSERT_TRUE(buffer.ok());
  stream->copy_to_device((*buffer)->data(), host.data(), bytes);
  stream->soft_cap(dense((*buffer)->floats(), 1, 5000), 1e9f);
  std::vector<float> first(host.size()), second(host.size());
  stream->copy_to_host(first.data(), (*buffer)->data(), bytes);
  const auto event = stream->record();
  stream->fill_zero((*buffer)->data(), bytes);
  stream->copy_to_host(second.data(), (*buffer)->data(), bytes);
  ASSERT_TRUE(event->wait(kDeadlineUs).ok());
  EXPECT_FLOAT_EQ(first[4999], 4999.0f);
  ASSERT_TRUE(stream->synchronize(kDeadlineUs).ok());
  EXPECT_EQ(second, std::vector<float>(host.size(), 0.0f));
}

// Many small pieces through the ring of page-locked memory, more than it holds at once.
TEST_F(CudaDeviceTest, UploadsOutrunTheRing) {
  const auto device = open(0);
  const auto stream = device->create_stream();
  const std::int64_t piece = 100'000;
  auto buffer = device->allocate(64 * piece);
  ASSERT_TRUE(buffer.ok());
  auto* memory = static_cast<std::byte*>((*buffer)->data());
  std::vector<std::uint8_t> host(static_cast<std::size_t>(piece));
  for (int i = 0; i < 64; ++i) {
    std::fill(host.begin(), host.end(), static_cast<std::uint8_t>(i));
    stream->copy_to_device(memory + i * piece, host.data(), piece);
  }
  std::vector<std::uint8_t> back(static_cast<std::size_t>(64 * piece));
  stream->copy_to_host(back.data(), memory, 64 * piece);
  ASSERT_TRUE(stream->synchronize(kDeadlineUs).ok());
  for (std::size_t i = 0; i < back.size(); ++i) {
    ASSERT_EQ(back[i], i / static_cast<std::size_t>(piece)) << i;
  }
}

// As the host's samplers do it, bit by bit.
TEST_F(CudaDeviceTest, LogitsAreChangedAsSamplersDo) {
  const auto device = open(0);
  const auto stream = device->create_stream();
  constexpr std::int64_t kRows = 3, kColumns = 700;
  std::vector<float> host(kRows * kColumns);
  for (std::size_t i = 0; i < host.size(); ++i) host[i] = std::sin(static_cast<float>(i)) * 9;
  auto buffer = device->allocate(kRows * kColumns * 4);
  ASSERT_TRUE(buffer.ok());
  stream->copy_to_device((*buffer)->data(), host.data(), kRows * kColumns * 4);
  std::vector<LogitChange> changes;
  for (std::int32_t i = 0; i < 600; ++i) {
    LogitChange change{i % 3, i + 60, 0.01f * static_cast<float>(i % 5 - 2), 1.3f,
                       0.07f * static_cast<float>(i % 4)};
    if (i == 5) change.add = -std::numeric_limits<float>::infinity();
    changes.push_back(change);
  }
  auto& picker = dynamic_cast<LogitPicker&>(*stream);
  picker.change_logits(dense((*buffer)->floats(), kRows, kColumns), changes);
  for (const LogitChange& change : changes) {
    float& logit = host[static_cast<std::size_t>(change.row * kColumns + change.column)];
    volatile float step = logit + change.add;  // each is rounded
    step = step <= 0 ? step * change.repeat : step / change.repeat;
    logit = step - change.lower;
  }
  changes.clear();  // they may go
  std::vector<float> got(host.size());
  stream->copy_to_host(got.data(), (*buffer)->data(), kRows * kColumns * 4);
  ASSERT_TRUE(stream->synchronize(kDeadlineUs).ok());
  EXPECT_EQ(got, host);
}

// Rows of more than one part; one of them without a number, one with nothing possible.
TEST_F(CudaDeviceTest, SumsOfExponentialsAreThoseOfAllLogits) {
  const auto device = open(0);
  const auto stream = device->create_stream();
  constexpr std::int64_t kRows = 3, kColumns = 9001;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> host(kRows * kColumns, -kInfinity);
  for (std::size_t i = 0; i < 2 * kColumns; ++i) host[i] = std::sin(static_cast<float>(i)) * 20;
  host[kColumns + 7] = std::numeric_limits<float>::quiet_NaN();
  host[kColumns + 8] = -kInfinity;
  auto buffer = device->allocate(kRows * kColumns * 4);
  auto results = device->allocate(2 * kRows * 4);
  ASSERT_TRUE(buffer.ok() && results.ok());
  stream->copy_to_device((*buffer)->data(), host.data(), kRows * kColumns * 4);
  float* largest = (*results)->floats();
  dynamic_cast<LogitPicker&>(*stream).sum_exponentials(dense((*buffer)->floats(), kRows, kColumns),
                                                       largest, largest + kRows);
  float got[2 * kRows];
  stream->copy_to_host(got, largest, sizeof(got));
  ASSERT_TRUE(stream->synchronize(kDeadlineUs).ok());
  for (std::size_t row = 0; row < 2; ++row) {
    double highest = -kInfinity, sum = 0;
    const auto values = std::span(host).subspan(row * kColumns, kColumns);
    for (const float value : values) highest = value > highest ? value : highest;
    for (const float value : values) sum += value > -kInfinity ? std::exp(value - highest) : 0;
    EXPECT_EQ(got[row], static_cast<float>(highest));
    // 9001 terms of one rounding each, added 16 to a thread, then pairwise: two dozen roundings.
    EXPECT_NEAR(got[kRows + row], sum, 24 * sum / (1 << 24));
  }
  EXPECT_EQ(got[2], -kInfinity);
  EXPECT_EQ(got[kRows + 2], 0.0f);
}

TEST_F(CudaDeviceTest, AnUnknownTokenPoisonsTheStreamAlone) {
  const auto device = open(0);
  const auto stream = device->create_stream();
  auto buffer = device->allocate(64);
  ASSERT_TRUE(buffer.ok());
  const std::vector<float> table(32);
  const std::int32_t id = 2;
  stream->embed(ElementType::kF32, std::as_bytes(std::span(table)), {&id, 1}, 1.0f,
                dense((*buffer)->floats(), 1, 16));
  const Status status = stream->synchronize(kDeadlineUs);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(device->create_stream()->synchronize(kDeadlineUs).ok());
}

}  // namespace
}  // namespace tandem::test
