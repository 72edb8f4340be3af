#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "base/cores.h"
#include "base/units.h"
#include "device/device.h"

namespace tandem {
namespace {

TEST(CpuDevice, SaysWhatItIs) {
  auto device = create_cpu_device("cpu:0", {.cores = {allowed_cores()[0]}});
  ASSERT_TRUE(device.ok()) << device.error().to_string();
  EXPECT_EQ((*device)->info().id, "cpu:0");
  EXPECT_EQ((*device)->info().kind, DeviceKind::kCpu);
  EXPECT_FALSE((*device)->info().name.empty());
  EXPECT_GT((*device)->info().memory_bytes, 64 * kMiB);
}

TEST(CpuDevice, RefusesCoresAndSetsThatAreNotThere) {
  const int core = allowed_cores()[0];
  for (const std::vector<int>& cores : {std::vector<int>{-1}, {100'000}, {core, core}}) {
    const auto device = create_cpu_device("cpu:x", {.cores = cores});
    ASSERT_FALSE(device.ok());
    EXPECT_EQ(device.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(create_cpu_device("cpu:x", {.cores = {}, .instruction_set = "mmx"}).error().code,
            ErrorCode::kInvalidArgument);
}

TEST(CpuDevice, BuffersAreAlignedAndOfTheSizeAskedFor) {
  auto device = std::move(create_cpu_device("cpu", {})).value();
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{100}, 5 * kMiB}) {
    auto buffer = device->allocate(bytes);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ((*buffer)->size_bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>((*buffer)->data()) % 64, 0u);
    if (bytes > 0) std::memset((*buffer)->data(), 1, static_cast<std::size_t>(bytes));
  }
}

TEST(CpuDevice, MemoryThatIsNotThereIsAnError) {
  auto device = std::move(create_cpu_device("cpu:7", {})).value();
  for (const std::int64_t bytes : {std::int64_t{1} << 44, INT64_MAX / 2}) {
    const auto buffer = device->allocate(bytes);
    ASSERT_FALSE(buffer.ok());
    EXPECT_EQ(buffer.error().code, ErrorCode::kOutOfMemory);
    EXPECT_NE(buffer.error().to_string().find("cpu:7"), std::string::npos);
  }
  EXPECT_EQ(device->allocate(-1).error().code, ErrorCode::kInvalidArgument);
}

TEST(CpuDevice, StreamsCopyInOrderAndMeasureTime) {
  auto device = std::move(create_cpu_device("cpu", {})).value();
  auto stream = device->create_stream();
  auto buffer = std::move(device->allocate(64)).value();
  const auto start = stream->record();
  const std::uint64_t sent = 0x1234567890ABCDEF;
  std::uint64_t received = 0;
  stream->fill_zero(buffer->data(), 64);
  stream->copy_to_device(buffer->data(), &sent, 8);
  stream->copy_to_host(&received, buffer->data(), 8);
  const auto end = stream->record();
  EXPECT_TRUE(end->wait(0).ok());
  EXPECT_TRUE(stream->synchronize(0).ok());
  EXPECT_EQ(received, sent);
  EXPECT_GE(end->seconds_since(*start), 0.0);
  EXPECT_LT(end->seconds_since(*start), 1.0);
}

TEST(NullDevice, CountsItsMemoryAndAnswersZero) {
  auto device = create_null_device("null:0", 1000);
  EXPECT_EQ(device->info().kind, DeviceKind::kNull);
  EXPECT_EQ(device->allocate(1001).error().code, ErrorCode::kOutOfMemory);
  auto buffer = std::move(device->allocate(400)).value();
  WeightSource source;
  source.rows = 10;
  source.columns = 10;
  auto weight = std::move(device->load_weight(source)).value();
  EXPECT_EQ(weight->rows(), 10);
  EXPECT_EQ(weight->size_bytes(), 400);
  EXPECT_EQ(device->allocate(201).error().code, ErrorCode::kOutOfMemory);
  weight.reset();
  EXPECT_TRUE(device->allocate(600).ok());

  std::vector<float> x(20, 3.0f), y(20, 4.0f);
  auto stream = device->create_stream();
  const MatmulTarget target{nullptr, nullptr, dense(y.data(), 2, 10)};
  stream->matmul(dense(x.data(), 2, 10), {&target, 1});
  EXPECT_EQ(y, std::vector<float>(20, 0.0f));
  float values[2] = {5, 5};
  std::int32_t indices[2] = {9, 9};
  stream->top_k(dense(y.data(), 1, 10), 2, values, indices);
  EXPECT_EQ(indices[1], 1);
  EXPECT_EQ(values[0], 0.0f);
  // A buffer may outlive its device.
  device.reset();
}

}  // namespace
}  // namespace tandem
