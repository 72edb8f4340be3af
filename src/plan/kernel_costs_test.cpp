#include "plan/kernel_costs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plan/device_work.h"
#include "plan/planned_models.h"

namespace tandem {
namespace {

KernelCosts kernel_of(ElementType type, double read, double shared_read, double overlap = 1) {
  return {type, read, shared_read, overlap, {{1, 2, 3}, {2, 3, 4}, {8, 15, 20}, {64, 127, 150}}};
}

TEST(KernelCosts, LieOnLinesBetweenWhatWasMeasured) {
  const KernelCosts kernel = kernel_of(ElementType::kQ4_K, 0.9, 0.8);
  EXPECT_DOUBLE_EQ(arithmetic_rows(kernel, 0.5, false), 2);
  EXPECT_DOUBLE_EQ(arithmetic_rows(kernel, 1, false), 2);
  EXPECT_DOUBLE_EQ(arithmetic_rows(kernel, 1.5, false), 2.5);
  EXPECT_DOUBLE_EQ(arithmetic_rows(kernel, 5, false), 9);
  EXPECT_DOUBLE_EQ(arithmetic_rows(kernel, 8, true), 20);
  EXPECT_DOUBLE_EQ(arithmetic_rows(kernel, 128, false), 254);  // in proportion to the last
}

TEST(KernelCosts, OverlapReadingAndArithmetic) {
  EXPECT_DOUBLE_EQ(overlapped(kernel_of(ElementType::kQ4_K, 1, 1, 1.0), 3, 5), 5);
  EXPECT_DOUBLE_EQ(overlapped(kernel_of(ElementType::kQ4_K, 1, 1, 0.0), 3, 5), 8);
  EXPECT_DOUBLE_EQ(overlapped(kernel_of(ElementType::kQ4_K, 1, 1, 0.75), 5, 4), 6);
}

TEST(KernelCosts, OfATypeThatWasNotMeasuredAreThoseOfItsLike) {
  const std::vector<KernelCosts> kernels = {kernel_of(ElementType::kQ4_K, 1, 1),
                                            kernel_of(ElementType::kQ8_0, 1, 1),
                                            kernel_of(ElementType::kF16, 1, 1)};
  EXPECT_EQ(find_kernel(kernels, ElementType::kQ8_0)->type, ElementType::kQ8_0);
  EXPECT_EQ(find_kernel(kernels, ElementType::kQ3_K)->type, ElementType::kQ4_K);
  EXPECT_EQ(find_kernel(kernels, ElementType::kBF16)->type, ElementType::kF16);
  EXPECT_EQ(find_kernel(std::vector<KernelCosts>{}, ElementType::kF16), nullptr);
}

// A kernel that reads 1e8 bytes at 4 of 8 GB/s, with a quarter of the shorter part not overlapped.
TEST(KernelCosts, FollowFromTimes) {
  MemoryTimes times;
  times.bytes = 1e8;
  times.read_gbps = 8;
  const KernelCosts kernel = kernel_of(ElementType::kQ4_K, 0.5, 0.5, 0.75);
  for (const double arithmetic : {0.004, 0.020, 0.030, 0.080}) {
    times.rows.push_back({overlapped(kernel, 0.025, arithmetic), arithmetic});
  }
  EXPECT_NEAR(overlap_of(times), 0.75, 1e-6);
  EXPECT_NEAR(read_share(times, 0.75), 0.5, 1e-6);
}

// One row is arithmetic already: nothing says how fast it could read, but no faster than there is.
TEST(KernelCosts, OfSlowArithmeticReadAsFastAsThereIs) {
  MemoryTimes times;
  times.bytes = 1e8;
  times.read_gbps = 8;
  times.rows = {{0.040, 0.040}, {0.080, 0.080}};
  EXPECT_DOUBLE_EQ(overlap_of(times), 1);
  EXPECT_DOUBLE_EQ(read_share(times, 1), 1);
}

TEST(KernelCosts, AreReadAsTheyWereWritten) {
  const KernelCosts kernel = kernel_of(ElementType::kQ6_K, 0.75, 0.5);
  const auto read = kernel_costs_from_json(to_json(kernel), "here");
  ASSERT_TRUE(read.ok()) << read.error().to_string();
  EXPECT_EQ(*read, kernel);
}

TEST(KernelCosts, OtherTextsAreErrors) {
  const nlohmann::json good = to_json(kernel_of(ElementType::kQ6_K, 0.75, 0.5));
  const auto fails = [&](const char* member, const char* value) {
    nlohmann::json bad = good;
    bad[member] = nlohmann::json::parse(value);
    return !kernel_costs_from_json(bad, "here").ok();
  };
  EXPECT_TRUE(fails("type", "\"q9\""));
  EXPECT_TRUE(fails("type", "3"));
  EXPECT_TRUE(fails("read", "0"));
  EXPECT_TRUE(fails("overlap", "1.5"));
  EXPECT_TRUE(fails("overlap", "null"));
  EXPECT_TRUE(fails("shared_read", "null"));
  EXPECT_TRUE(fails("rows", "null"));
  EXPECT_TRUE(fails("rows", "[[1,0]]"));
  EXPECT_TRUE(fails("rows", "[[2,1,1],[2,3,3]]"));
  EXPECT_TRUE(fails("rows", "[[1,-1,0]]"));
  EXPECT_TRUE(fails("rows", "[[1,\"0\",0]]"));
  EXPECT_FALSE(fails("rows", "[[1,0,0],[2,1,1]]"));
  EXPECT_FALSE(kernel_costs_from_json(3, "here").ok());
}

class KernelWork : public ::testing::Test {
 protected:
  KernelWork() : model_(plannable_model("llama-3.2-1b", "q4_0")->spec, ElementType::kF16) {
    backend_.kernels = {kernel_of(ElementType::kQ4_0, 0.8, 0.5),
                        kernel_of(ElementType::kQ6_K, 0.4, 0.4)};
    backend_.kv_efficiency = 0.5;
    backend_.attention_efficiency = 0.5;
    device_.backend = &backend_;
    device_.is_cpu = true;
    device_.bandwidth_bytes = 40e9;
    device_.matrix_ops = 800e9;
    device_.scalar_ops = 200e9;
  }

  BackendProfile backend_;
  DeviceRates device_;
  ModelCosts model_;
};

// Layers of Q4_0 and an output matrix of Q6_K, each read at its own rate.
TEST_F(KernelWork, ReadsEachTypeAtItsRate) {
  const RangeCosts whole = model_.whole();
  const double layers = (whole.bytes - whole.output_bytes) / (0.8 * 40e9);
  const double output = whole.output_bytes / (0.4 * 40e9);
  EXPECT_NEAR(decode_work_s(model_, whole, device_, 0, 1, true), layers + output,
              0.001 * (layers + output));
  device_.shared_bytes = 30e9;
  const double shared = (whole.bytes - whole.output_bytes) / (0.5 * 30e9);
  EXPECT_NEAR(decode_work_s(model_, whole, device_, 0, 1, true),
              shared + whole.output_bytes / (0.4 * 30e9), 0.001 * shared);
}

TEST_F(KernelWork, IsBoundByArithmeticWithManySequences) {
  const RangeCosts whole = model_.whole();
  const double seconds = 2 * whole.weights * 127 / 800e9;
  EXPECT_NEAR(decode_work_s(model_, whole, device_, 0, 64, true), seconds, 0.001 * seconds);
}

// Only the last token of a prompt passes the output matrix, and the time model adds that.
TEST_F(KernelWork, LeavesTheOutputMatrixOutOfPrompts) {
  const RangeCosts whole = model_.whole();
  const RangeCosts layers = model_.range(0, model_.num_layers(), false);
  EXPECT_DOUBLE_EQ(prefill_work_s(model_, whole, device_, 64, 32),
                   prefill_work_s(model_, layers, device_, 64, 32));
  const double products = 2 * layers.weights * 127 / 800e9;
  const double attention = 4 * 64 * 32 * model_.head_width() * layers.layers / (0.5 * 200e9);
  EXPECT_NEAR(prefill_work_s(model_, whole, device_, 64, 32), products + attention,
              0.002 * products);
}

}  // namespace
}  // namespace tandem
