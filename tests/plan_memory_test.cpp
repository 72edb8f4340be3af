// A plan's bytes against what the engine allocates over CPU devices: by the engine's own account of
// every device, and by what the kernel counts of the process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>

#include "base/units.h"
#include "gguf/gguf_file.h"
#include "model/synth.h"
#include "runtime/evaluate.h"
#include "support/cpu_runtime.h"

namespace tandem::test {
namespace {

namespace fs = std::filesystem;

constexpr double kShare = 0.03;  // the target: within 3 % and 64 MiB
constexpr std::int64_t kSlackBytes = 64 * kMiB;

// Pages of the process that no file stands behind.
std::int64_t anonymous_bytes() {
  std::ifstream stream("/proc/self/status");
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) * kKiB;
  }
  return -1;
}

std::string shape_text(bool experts) {
  std::string text =
      R"({"name": "memory", "architecture": "llama", "layers": 6, "hidden": 1024, "heads": 16,
          "kv_heads": 4, "head_dim": 64, "ffn": 4096, "vocabulary": 32000, "context": 4096,
          "norm_epsilon": 1e-5, "tied_embeddings": false, "rope": {"base": 10000})";
  if (experts) text += R"(, "experts": {"count": 4, "used": 2, "ffn": 1024})";
  return text + "}";
}

class PlanMemory : public ::testing::Test {
 protected:
  ~PlanMemory() override { fs::remove(path_); }

  ReferenceModel synthesised(bool experts) {
    SynthOptions options;
    auto shape = shape_from_json(shape_text(experts), "test");
    EXPECT_TRUE(shape.ok()) << shape.error().to_string();
    options.shape = *std::move(shape);
    EXPECT_TRUE(synthesise_model(options, path_).ok());
    ReferenceModel model;
    model.name = "memory";
    model.file = *GgufFile::open(path_);
    model.spec = *model_spec_from_gguf(*model.file);
    return model;
  }

  // The plan's sum, and what running it took of the process.
  void check(const ReferenceModel& model, const SplitChoice& split, ElementType kv_type) {
    SCOPED_TRACE(split.name + ", cache " + std::string(traits_of(kv_type).name));
    RunChoice run;
    run.kv_type = kv_type;
    run.max_batch_tokens = 256;
    run.micro_batch_tokens = 128;
    const std::int64_t before = anonymous_bytes();
    auto runtime = start_on_cpu(model, split, run);
    ASSERT_TRUE(runtime.ok()) << runtime.error().to_string();
    std::vector<std::int32_t> tokens(250);
    std::iota(tokens.begin(), tokens.end(), 1);
    ASSERT_TRUE(logits_of(**runtime, tokens, {249}).ok());
    const std::int64_t took = anonymous_bytes() - before;
    std::int64_t said = 0;
    std::size_t index = 0;
    const auto memory = (*runtime)->memory();
    for (const StagePlan& stage : (*runtime)->plan().stages) {
      for (const RankPlan& rank : stage.ranks) {
        const RankMemory& used = memory[index++];
        said += rank.total_bytes();
        EXPECT_NEAR(rank.weights_bytes, used.weights_bytes, kShare * used.weights_bytes);
        EXPECT_NEAR(rank.kv_bytes, used.kv_bytes, kShare * used.kv_bytes);
        EXPECT_NEAR(rank.compute_bytes, used.compute_bytes, kShare * used.compute_bytes);
      }
    }
    EXPECT_NEAR(said, took, kShare * took + kSlackBytes)
        << "plan " << format_bytes(said) << ", process " << format_bytes(took);
    RecordProperty("said", std::to_string(said));
    RecordProperty("took", std::to_string(took));
    std::printf("  %s: plan %s, process %s\n", split.name.c_str(), format_bytes(said).c_str(),
                format_bytes(took).c_str());
  }

  fs::path path_ =
      fs::temp_directory_path() / ("tandem_memory_" + std::to_string(getpid()) + ".gguf");
};

TEST_F(PlanMemory, DenseModelOverEverySplit) {
  if (anonymous_bytes() < 0) GTEST_SKIP() << "this kernel does not count anonymous pages";
  const ReferenceModel model = synthesised(false);
  check(model, {"one device", {{1}}}, ElementType::kF16);
  check(model, {"tensor 2", {{1, 1}}}, ElementType::kF16);
  check(model, {"tensor 3 uneven", {{3, 2, 1}}}, ElementType::kQ8_0);
  check(model, {"two stages", {{1}, {1}}}, ElementType::kF32);
  check(model, {"stages of two", {{1, 1}, {1, 1}}}, ElementType::kF16);
}

TEST_F(PlanMemory, ExpertsByWidthAndByExpert) {
  if (anonymous_bytes() < 0) GTEST_SKIP() << "this kernel does not count anonymous pages";
  const ReferenceModel model = synthesised(true);
  check(model, {"experts by width", {{1, 1}}, false}, ElementType::kF16);
  check(model, {"experts by expert", {{1, 1}}, true}, ElementType::kF16);
}

}  // namespace
}  // namespace tandem::test
