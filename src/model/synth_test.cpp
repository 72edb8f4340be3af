#include "model/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "gguf/gguf_file.h"
#include "model/synth_weights.h"
#include "tensor/quantise.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

// One small shape of each architecture, with all that is optional in it.
const std::vector<std::string> kShapes = {
    R"({"name": "llama", "architecture": "llama", "layers": 3, "hidden": 256, "heads": 4,
        "kv_heads": 2, "ffn": 512, "vocabulary": 600, "context": 512,
        "rope": {"base": 500000, "scaling": "llama3", "original_context": 64}})",
    R"({"name": "mixtral", "architecture": "llama", "layers": 2, "hidden": 256, "heads": 4,
        "ffn": 256, "vocabulary": 600, "experts": {"count": 8, "used": 2}})",
    R"({"name": "qwen2", "architecture": "qwen2", "layers": 2, "hidden": 96, "heads": 3,
        "kv_heads": 1, "ffn": 224, "vocabulary": 333, "norm_epsilon": 1e-6})",
    R"({"name": "qwen3", "architecture": "qwen3", "layers": 2, "hidden": 128, "heads": 4,
        "kv_heads": 2, "head_dim": 64, "ffn": 384, "vocabulary": 300, "tied_embeddings": true})",
    R"({"name": "qwen3moe", "architecture": "qwen3moe", "layers": 2, "hidden": 128, "heads": 4,
        "kv_heads": 2, "head_dim": 64, "ffn": 512, "vocabulary": 300,
        "experts": {"count": 4, "used": 2, "ffn": 96}})",
    R"({"name": "gemma2", "architecture": "gemma2", "layers": 4, "hidden": 128, "heads": 2,
        "kv_heads": 1, "head_dim": 32, "ffn": 96, "vocabulary": 300, "tied_embeddings": true,
        "sliding_window": 16, "attention_soft_cap": 50, "final_soft_cap": 30})",
    R"({"name": "gemma3", "architecture": "gemma3", "layers": 7, "hidden": 128, "heads": 4,
        "kv_heads": 2, "head_dim": 64, "ffn": 256, "vocabulary": 300, "tied_embeddings": true,
        "sliding_window": 16, "rope": {"base": 1000000, "scaling": "linear", "factor": 8}})",
    R"({"name": "phi3", "architecture": "phi3", "layers": 2, "hidden": 96, "heads": 3,
        "ffn": 160, "vocabulary": 300, "sliding_window": 33})"};

const FileType kAllTypes[] = {
    FileType::kF32,    FileType::kF16,      FileType::kBF16,   FileType::kQ8_0,   FileType::kQ4_0,
    FileType::kQ4_1,   FileType::kQ5_0,     FileType::kQ5_1,   FileType::kQ2_K,   FileType::kQ2_K_S,
    FileType::kQ3_K_S, FileType::kQ3_K_M,   FileType::kQ3_K_L, FileType::kQ4_K_S, FileType::kQ4_K_M,
    FileType::kQ5_K_S, FileType::kQ5_K_M,   FileType::kQ6_K,   FileType::kIQ4_NL, FileType::kIQ4_XS,
    FileType::kMXFP4,  FileType::kMXFP4_MoE};

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class SynthTest : public ::testing::Test {
 protected:
  SynthTest() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::temp_directory_path() /
                 ("tandem_synth_" + std::string(info->name()) + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(directory_);
  }
  ~SynthTest() override { std::filesystem::remove_all(directory_); }

  static SynthOptions options(const std::string& shape, FileType type) {
    SynthOptions result;
    result.shape = shape_from_json(shape, "test").value();
    result.type = type;
    return result;
  }
  std::shared_ptr<const GgufFile> synthesise(const SynthOptions& what) {
    const auto report = synthesise_model(what, path());
    EXPECT_TRUE(report.ok()) << report.error().to_string();
    EXPECT_EQ(report->file_bytes, static_cast<std::int64_t>(std::filesystem::file_size(path())));
    return GgufFile::open(path()).value();
  }
  std::filesystem::path path() const { return directory_ / "model.gguf"; }

  std::filesystem::path directory_;
};

void expect_same(const ModelSpec& got, const ModelSpec& wanted) {
  EXPECT_EQ(got.name, wanted.name);
  EXPECT_EQ(got.architecture, wanted.architecture);
  EXPECT_EQ(got.context_tokens, wanted.context_tokens);
  EXPECT_EQ(got.vocabulary_size, wanted.vocabulary_size);
  EXPECT_EQ(got.hidden_size, wanted.hidden_size);
  EXPECT_EQ(got.num_layers, wanted.num_layers);
  EXPECT_EQ(got.norm_epsilon, static_cast<float>(wanted.norm_epsilon));
  EXPECT_EQ(got.has_post_norms, wanted.has_post_norms);
  EXPECT_EQ(got.embedding_scale, wanted.embedding_scale);
  EXPECT_EQ(got.final_soft_cap, wanted.final_soft_cap);
  EXPECT_EQ(got.tied_embeddings, wanted.tied_embeddings);
  const AttentionSpec& a = got.attention;
  const AttentionSpec& b = wanted.attention;
  EXPECT_EQ(a.num_q_heads, b.num_q_heads);
  EXPECT_EQ(a.num_kv_heads, b.num_kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.scale, b.scale);
  EXPECT_EQ(a.soft_cap, b.soft_cap);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.window_period, b.window_period);
  EXPECT_EQ(a.has_bias, b.has_bias);
  EXPECT_EQ(a.has_qk_norm, b.has_qk_norm);
  EXPECT_EQ(a.fused_qkv, b.fused_qkv);
  EXPECT_EQ(a.rope.adjacent_pairs, b.rope.adjacent_pairs);
  EXPECT_EQ(a.rope.dims, b.rope.dims);
  EXPECT_EQ(a.rope.base, b.rope.base);
  EXPECT_EQ(a.rope.scaling, b.rope.scaling);
  EXPECT_EQ(a.rope.factor, b.rope.factor);
  EXPECT_EQ(a.rope.original_context_tokens, b.rope.original_context_tokens);
  EXPECT_EQ(a.rope.local_base, b.rope.local_base);
  EXPECT_EQ(got.feed_forward.width, wanted.feed_forward.width);
  EXPECT_EQ(got.feed_forward.gelu, wanted.feed_forward.gelu);
  EXPECT_EQ(got.feed_forward.fused_gate_up, wanted.feed_forward.fused_gate_up);
  EXPECT_EQ(got.feed_forward.num_experts, wanted.feed_forward.num_experts);
  EXPECT_EQ(got.feed_forward.num_experts_used, wanted.feed_forward.num_experts_used);
  ASSERT_EQ(got.tensors.size(), wanted.tensors.size());
  for (std::size_t i = 0; i < got.tensors.size(); ++i) {
    EXPECT_EQ(got.tensors[i].name, wanted.tensors[i].name);
    EXPECT_EQ(got.tensors[i].type, wanted.tensors[i].type) << got.tensors[i].name;
  }
}

TEST_F(SynthTest, EveryArchitectureIsReadBackAsItWasMeant) {
  for (const std::string& shape : kShapes) {
    const auto what = options(shape, FileType::kQ4_K_M);
    SCOPED_TRACE(what.shape.spec.name);
    const auto file = synthesise(what);
    const auto spec = model_spec_from_gguf(*file);
    ASSERT_TRUE(spec.ok()) << spec.error().to_string();
    ModelSpec wanted = what.shape.spec;
    assign_tensors(wanted, what.type);
    if (!what.shape.rope_factors.empty())
      wanted.tensors.push_back({"rope_freqs.weight", TensorRole::kRopeFactors, -1});
    expect_same(*spec, wanted);
  }
}

TEST_F(SynthTest, EveryTypeHoldsFiniteWeightsOfTheRightSize) {
  for (const std::string& shape : {kShapes[0], kShapes[4]}) {
    for (const FileType type : kAllTypes) {
      const auto file = synthesise(options(shape, type));
      for (const GgufTensor& tensor : file->tensors()) {
        if (tensor.rows() == 1 || tensor.name.find("token_embd") != std::string::npos) continue;
        std::vector<float> values(static_cast<std::size_t>(tensor.num_elements()));
        dequantise(tensor.type, tensor.data, values);
        double sum = 0;
        double squares = 0;
        for (const float value : values) {
          ASSERT_TRUE(std::isfinite(value)) << tensor.name;
          sum += value;
          squares += static_cast<double>(value) * value;
        }
        const auto count = static_cast<double>(values.size());
        const double deviation = std::sqrt(squares / count);
        EXPECT_LT(std::abs(sum / count), 0.1 * deviation) << tensor.name;
        // The factors by which output, down and attention output differ from 1/sqrt(columns).
        const double relative = deviation * std::sqrt(static_cast<double>(tensor.columns()));
        EXPECT_GT(relative, 0.3) << name_of(type) << " " << tensor.name;
        EXPECT_LT(relative, 2.9) << name_of(type) << " " << tensor.name;
      }
    }
  }
}

TEST_F(SynthTest, TheSameSeedGivesTheSameFile) {
  auto what = options(kShapes[0], FileType::kQ4_K_M);
  synthesise(what);
  const std::string first = contents_of(path());
  synthesise(what);
  EXPECT_EQ(contents_of(path()), first);
  what.seed = 1;
  synthesise(what);
  EXPECT_NE(contents_of(path()), first);
}

TEST_F(SynthTest, WeightsDoNotDependOnChunks) {
  ModelSpec spec = shape_from_json(kShapes[2], "test")->spec;  // rows of 96: no whole run of blocks
  assign_tensors(spec, FileType::kQ8_0);
  SynthWeights weights(spec, {}, 7);
  for (std::size_t i = 0; i < spec.tensors.size(); ++i) {
    const TensorSpec& tensor = spec.tensors[i];
    std::vector<std::byte> whole(static_cast<std::size_t>(tensor.size_bytes()));
    weights.fill(i, 0, whole);
    std::vector<std::byte> pieces(whole.size());
    const auto row_bytes = static_cast<std::size_t>(*bytes_of(tensor.type, tensor.columns));
    for (std::size_t at = 0; at < pieces.size(); at += row_bytes)
      weights.fill(i, static_cast<std::int64_t>(at), std::span(pieces).subspan(at, row_bytes));
    EXPECT_EQ(pieces, whole) << tensor.name;
  }
}

TEST_F(SynthTest, SyntheticTokenizerFillsTheVocabulary) {
  for (const int vocabulary : {258, 259, 1000, 128256}) {
    auto what = options(kShapes[2], FileType::kQ8_0);
    what.shape.spec.vocabulary_size = vocabulary;
    const auto file = synthesise(what);
    const GgufArray* tokens = file->get_array("tokenizer.ggml.tokens").value();
    const auto& names = std::get<std::vector<std::string_view>>(tokens->elements);
    EXPECT_EQ(names.size(), static_cast<std::size_t>(vocabulary));
    EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size()) << "a token twice";
    const auto& merges = std::get<std::vector<std::string_view>>(
        (*file->get_array("tokenizer.ggml.merges"))->elements);
    EXPECT_EQ(merges.size(), names.size() - 258);
    EXPECT_EQ((*file->get_array("tokenizer.ggml.token_type"))->size(), names.size());
    EXPECT_EQ(names[*file->get_uint("tokenizer.ggml.eos_token_id")], "<|end|>");
  }
}

TEST_F(SynthTest, CopiesAndPadsATokenizer) {
  const auto source =
      std::filesystem::path(TANDEM_SHARED_DIR) / "tokenizers/ggml-vocab-llama-spm.gguf";
  if (!std::filesystem::exists(source)) GTEST_SKIP() << "no " << source;
  auto what = options(kShapes[2], FileType::kQ8_0);
  what.tokenizer_from = source;
  what.shape.spec.vocabulary_size = 32010;  // ten more than the tokenizer has
  const auto file = synthesise(what);
  const auto& names = std::get<std::vector<std::string_view>>(
      (*file->get_array("tokenizer.ggml.tokens"))->elements);
  ASSERT_EQ(names.size(), 32010u);
  EXPECT_EQ(names.back(), "[PAD32009]");
  EXPECT_EQ((*file->get_array("tokenizer.ggml.scores"))->size(), 32010u);
  const auto& types = std::get<std::vector<std::int64_t>>(
      (*file->get_array("tokenizer.ggml.token_type"))->elements);
  ASSERT_EQ(types.size(), 32010u);
  EXPECT_EQ(types.back(), 1) << "a token with a text: its answers are seen";
  EXPECT_EQ(*file->get_string("tokenizer.ggml.model"), "llama");

  what.shape.spec.vocabulary_size = 31999;
  const auto refused = synthesise_model(what, path());
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().to_string(),
              HasSubstr("more tokens than the shape (expected at most 31999, got 32000)"));
}

TEST_F(SynthTest, SaysWhatItCannotDo) {
  auto what = options(kShapes[0], FileType::kQ4_0);
  what.shape.spec.vocabulary_size = 100;
  EXPECT_THAT(synthesise_model(what, path()).error().to_string(),
              HasSubstr("no room for a byte-level tokenizer in the vocabulary (expected 258"));
  what = options(kShapes[0], FileType::kQ4_0);
  what.tokenizer_from = directory_ / "none.gguf";
  EXPECT_EQ(synthesise_model(what, path()).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path()));

  what = options(R"({"name": "giant", "architecture": "llama", "layers": 1000, "hidden": 65536,
                     "heads": 512, "ffn": 1048576, "vocabulary": 1000})",
                 FileType::kF32);
  const auto full = synthesise_model(what, path());
  EXPECT_EQ(full.error().code, ErrorCode::kIo);
  EXPECT_THAT(full.error().to_string(), HasSubstr("not enough room on the disk"));
}

}  // namespace
}  // namespace tandem
