#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "gguf/gguf_file.h"
#include "gguf/gguf_writer.h"
#include "model/model_spec.h"
#include "model/synth.h"

namespace tandem {
namespace {

// A small model's file, and copies of it with tensors more.
class ModelSpecGgufTest : public testing::Test {
 protected:
  ModelSpecGgufTest()
      : directory_(std::filesystem::temp_directory_path() /
                   ("tandem_model_spec_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(directory_);
    SynthOptions options;
    options.shape = shape_from_json(R"({"name": "small", "architecture": "qwen3", "layers": 1,
        "hidden": 64, "heads": 1, "head_dim": 64, "ffn": 64, "vocabulary": 300})",
                                    "test")
                        .value();
    options.type = FileType::kF32;
    EXPECT_TRUE(synthesise_model(options, directory_ / "model.gguf").ok());
    model_ = GgufFile::open(directory_ / "model.gguf").value();
  }
  ~ModelSpecGgufTest() override { std::filesystem::remove_all(directory_); }

  // A copy with one more tensor: 64 zeros.
  std::shared_ptr<const GgufFile> with_tensor(const std::string& name) const {
    GgufWriter writer;
    for (const auto& [key, value] : model_->metadata()) writer.set_value(key, value);
    for (const GgufTensor& tensor : model_->tensors()) {
      writer.declare_tensor(tensor.name, tensor.type, tensor.dims);
    }
    writer.declare_tensor(name, ElementType::kF32, {64});
    const auto fill = [this](std::size_t index, std::int64_t offset, std::span<std::byte> chunk) {
      const auto& tensors = model_->tensors();
      std::memset(chunk.data(), 0, chunk.size());
      if (index < tensors.size()) {
        std::memcpy(chunk.data(), tensors[index].data.data() + offset, chunk.size());
      }
      return Status();
    };
    EXPECT_TRUE(writer.write(directory_ / "copy.gguf", fill).ok());
    return GgufFile::open(directory_ / "copy.gguf").value();
  }

  std::filesystem::path directory_;
  std::shared_ptr<const GgufFile> model_;
};

TEST_F(ModelSpecGgufTest, AHeadThatScoresIsNoPartOfTheForwardPass) {
  const std::size_t num_tensors = model_spec_from_gguf(*model_).value().tensors.size();
  for (const char* name : {"cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias"}) {
    const auto spec = model_spec_from_gguf(*with_tensor(name));
    ASSERT_TRUE(spec.ok()) << spec.error().to_string();
    EXPECT_EQ(spec->tensors.size(), num_tensors);
  }
}

TEST_F(ModelSpecGgufTest, ATensorThatNobodyWouldReadIsRefused) {
  for (const char* name : {"cls.norm.weight", "blk.0.odd.weight", "blk.1.attn_q.weight"}) {
    const auto spec = model_spec_from_gguf(*with_tensor(name));
    ASSERT_FALSE(spec.ok());
    EXPECT_EQ(spec.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(spec.error().to_string(), testing::HasSubstr(name));
  }
}

}  // namespace
}  // namespace tandem
