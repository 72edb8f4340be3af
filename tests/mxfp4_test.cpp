// MXFP4 has no reference model: synthetic ones, dense and of experts, give the same logits however
// they are split.
#include <gtest/gtest.h>
#include <unistd.h>

#include "model/synth.h"
#include "support/devices_here.h"

namespace tandem::test {
namespace {

constexpr double kInt8Tolerance = 0.0016;  // llama-iq4_nl's

ReferenceModel synthesise(const std::string& rest, FileType type) {
  SynthOptions options;
  const std::string shape = R"({"name": "small", "layers": 3, "hidden": 128, "heads": 4,
      "kv_heads": 2, "head_dim": 32, "ffn": 192, "vocabulary": 300, )" +
                            rest + "}";
  options.shape = shape_from_json(shape, "test").value();
  options.type = type;
  const auto path = std::filesystem::temp_directory_path() /
                    ("tandem_mxfp4_" + std::to_string(getpid()) + ".gguf");
  EXPECT_TRUE(synthesise_model(options, path).ok());
  ReferenceModel model;
  model.file = GgufFile::open(path).value();
  model.spec = model_spec_from_gguf(*model.file).value();
  std::filesystem::remove(path);  // the mapping stays
  return model;
}

bool has_mxfp4(const ModelSpec& spec, TensorRole role) {
  const TensorSpec* tensor = spec.find(role, 1);
  return tensor != nullptr && tensor->type == ElementType::kMXFP4;
}

// Under an emulation the last alone, which is a bit of each.
std::vector<SplitChoice> splits(bool by_expert) {
  std::vector<SplitChoice> all;
  if (!is_slow_here()) {
    all = {{"tensor2", {{1, 1}}, by_expert},
           {"tensor3", {{3, 1, 1}}, by_expert},
           {"pipeline2", {{1}, {1}}, by_expert}};
  }
  all.push_back({"hybrid", {{1, 1}, {1}}, by_expert});
  return all;
}

void expect_same_on_every_split(const ReferenceModel& model, bool by_expert) {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> positions;
  for (std::int32_t i = 0; i < (is_slow_here() ? 3 : 70); ++i) {
    tokens.push_back((i * 37 + 11) % 300);
    positions.push_back(i);
  }
  for (const Arithmetic arithmetic : {Arithmetic::kFloat, Arithmetic::kInt8}) {
    // Float activations: only the order of additions differs, and the F16 cache's rounding of what
    // follows from it. Rounded ones may fall to the other side where they are near a tie: the
    // smallest tolerance that a reference model of 4 bits has against its exact logits.
    const double tolerance = arithmetic == Arithmetic::kFloat ? 1e-6 : kInt8Tolerance;
    RunChoice run;
    run.arithmetic = arithmetic;
    const auto one = start_here(model, {}, run).value();
    const auto expected = logits_of(*one, tokens, positions).value();
    for (const SplitChoice& split : splits(by_expert)) {
      const auto runtime = start_here(model, split, run).value();
      const auto got = logits_of(*runtime, tokens, positions).value();
      EXPECT_LT(nmse(got, expected), tolerance) << split.name;
    }
  }
}

TEST(Mxfp4, DenseModelsSplitLikeOthers) {
  TANDEM_SKIP_WHERE_NOTHING_RUNS();
  ReferenceModel model = synthesise(R"("architecture": "qwen3")", FileType::kMXFP4);
  ASSERT_TRUE(has_mxfp4(model.spec, TensorRole::kDown));
  expect_same_on_every_split(model, false);
}

TEST(Mxfp4, ExpertsSplitByWidthAndByExpert) {
  TANDEM_SKIP_WHERE_NOTHING_RUNS();
  ReferenceModel model = synthesise(R"("architecture": "qwen3moe",
      "experts": {"count": 5, "used": 2, "ffn": 192})",
                                    FileType::kMXFP4_MoE);
  ASSERT_TRUE(has_mxfp4(model.spec, TensorRole::kExpertDown));
  expect_same_on_every_split(model, false);
  expect_same_on_every_split(model, true);
}

}  // namespace
}  // namespace tandem::test
