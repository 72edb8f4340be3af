#include "text/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "gguf/gguf_file.h"
#include "gguf/image_builder_for_test.h"
#include "text/vocabularies_for_test.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string error_of(VocabularyFields fields) {
  const auto result = Vocabulary::create(std::move(fields));
  return result.ok() ? "no error" : result.error().to_string();
}

TEST(Vocabulary, TakesWhatTheFieldsSay) {
  VocabularyFields fields = small_bpe_fields("llama-bpe");
  fields.add_eos = true;
  const Vocabulary vocabulary = Vocabulary::create(fields).value();
  EXPECT_EQ(vocabulary.model(), TokenizerModel::kByteLevelBpe);
  EXPECT_EQ(vocabulary.size(), static_cast<std::int32_t>(fields.tokens.size()));
  EXPECT_EQ(vocabulary.special().bos, 0);
  EXPECT_TRUE(vocabulary.adds_bos());  // llama-bpe's default
  EXPECT_TRUE(vocabulary.adds_eos());
  EXPECT_FALSE(vocabulary.adds_space_prefix());
  EXPECT_EQ(vocabulary.find("<tag>"), 3);
  EXPECT_EQ(vocabulary.find("nonsense"), std::nullopt);
  EXPECT_FALSE(vocabulary.contains(-1));
  EXPECT_FALSE(vocabulary.contains(vocabulary.size()));
}

TEST(Vocabulary, AddBosFollowsFileThenFamily) {
  VocabularyFields fields = small_bpe_fields("gpt-2");
  EXPECT_FALSE(Vocabulary::create(fields).value().adds_bos());
  fields.add_bos = true;
  EXPECT_TRUE(Vocabulary::create(fields).value().adds_bos());
  fields = small_spm_fields();
  EXPECT_TRUE(Vocabulary::create(fields).value().adds_bos());
  EXPECT_TRUE(Vocabulary::create(fields).value().adds_space_prefix());
  fields.add_bos = fields.add_space_prefix = false;
  EXPECT_FALSE(Vocabulary::create(fields).value().adds_bos());
  EXPECT_FALSE(Vocabulary::create(fields).value().adds_space_prefix());
}

TEST(Vocabulary, KnowsWhatEndsAnAnswer) {
  const Vocabulary vocabulary = Vocabulary::create(small_bpe_fields()).value();
  EXPECT_THAT(vocabulary.end_of_generation(), ElementsAre(1, 2));  // <|eos|> by role, <|im_end|>
  EXPECT_EQ(vocabulary.special().eot, 2);
  EXPECT_TRUE(vocabulary.is_end_of_generation(2));
  EXPECT_FALSE(vocabulary.is_end_of_generation(0));
}

TEST(Vocabulary, TokensKnownToEndATurnAreControlTokensWhateverTheFileSays) {
  VocabularyFields fields = small_bpe_fields();
  (*fields.types)[2] = static_cast<std::int32_t>(TokenType::kNormal);
  EXPECT_EQ(Vocabulary::create(fields).value().token(2).type, TokenType::kControl);
}

TEST(Vocabulary, HarmonyEndIsNoEndOfGeneration) {
  VocabularyFields fields = small_bpe_fields("gpt-4o");
  const auto end = add_token(fields, "<|end|>", TokenType::kControl);
  EXPECT_TRUE(Vocabulary::create(fields).value().is_end_of_generation(end));
  const auto call = add_token(fields, "<|call|>", TokenType::kControl);
  add_token(fields, "<|return|>", TokenType::kControl);
  const Vocabulary harmony = Vocabulary::create(fields).value();
  EXPECT_FALSE(harmony.is_end_of_generation(end));
  EXPECT_TRUE(harmony.is_end_of_generation(call));
}

TEST(Vocabulary, OfOneTokenIsFine) {
  VocabularyFields fields;
  fields.model = "gpt2";
  fields.pre = "default";
  fields.tokens = {"a"};
  fields.merges.emplace();
  const auto tokenizer = make_tokenizer(fields);
  EXPECT_THAT(tokenizer->encode("aba"), ElementsAre(0, 0));  // "b" has neither token nor <unk>
  fields.model = "llama";
  fields.scores = {0.0f};
  EXPECT_EQ(Vocabulary::create(fields).value().special().bos, std::nullopt);
}

TEST(Vocabulary, DuplicatesMeanTheLowestId) {
  VocabularyFields fields = small_bpe_fields();
  add_token(fields, "h", TokenType::kNormal);
  EXPECT_THAT(make_tokenizer(fields)->encode("h"), ElementsAre(5 + 'h'));
}

TEST(Vocabulary, RefusesWhatDoesNotFitTogether) {
  VocabularyFields fields = small_spm_fields();
  fields.scores->pop_back();
  EXPECT_THAT(error_of(fields), HasSubstr("tokenizer.ggml.scores: wrong length"));

  fields = small_spm_fields();
  fields.types->push_back(1);
  EXPECT_THAT(error_of(fields), HasSubstr("tokenizer.ggml.token_type: wrong length"));

  fields = small_spm_fields();
  (*fields.types)[7] = 7;
  EXPECT_THAT(error_of(fields), HasSubstr("type of token 7 (expected 0 to 6, got 7)"));

  fields = small_spm_fields();
  (*fields.scores)[9] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(error_of(fields), HasSubstr("score of token 9"));

  fields = small_spm_fields();
  fields.scores.reset();
  EXPECT_THAT(error_of(fields), HasSubstr("tokenizer.ggml.scores: missing"));

  fields = small_bpe_fields();
  fields.merges.reset();
  EXPECT_THAT(error_of(fields), HasSubstr("tokenizer.ggml.merges: missing"));

  fields = small_bpe_fields();
  fields.tokens.clear();
  EXPECT_THAT(error_of(fields), HasSubstr("tokenizer.ggml.tokens: wrong number"));

  fields = small_bpe_fields();
  fields.special.eos = 100000;
  EXPECT_THAT(error_of(fields), HasSubstr("eos_token_id: token id outside the vocabulary"));
}

TEST(Vocabulary, RefusesUnknownModelsByName) {
  VocabularyFields fields = small_bpe_fields();
  fields.model = "rwkv";
  EXPECT_THAT(error_of(fields), HasSubstr("expected llama or gpt2, got rwkv"));
  fields = small_bpe_fields("bert-bge");
  EXPECT_THAT(error_of(fields), HasSubstr("got bert-bge"));
  EXPECT_THAT(error_of(fields), HasSubstr("default, gpt-2, "));
  EXPECT_EQ(Vocabulary::create(fields).error().code, ErrorCode::kUnsupported);
}

// A GGUF image whose three tokens are "a", "b" and "c", with `num_more` pairs to be appended.
ImageBuilder image_with_tokens(std::uint64_t num_more) {
  ImageBuilder image;
  image.header(0, 2 + num_more).key("tokenizer.ggml.model", GgufType::kString).string("llama");
  image.array("tokenizer.ggml.tokens", GgufType::kString, 3).string("a").string("b").string("c");
  return image;
}

ImageBuilder& float_scores(ImageBuilder& image) {
  image.array("tokenizer.ggml.scores", GgufType::kF32, 3);
  return image.raw(-1.0f).raw(-2.0f).raw(-3.0f);
}

std::string error_of(const ImageBuilder& image) {
  const auto file = GgufFile::parse(image.bytes(), "model.gguf").value();
  const auto result = Tokenizer::create(*file);
  return result.ok() ? "no error" : result.error().to_string();
}

TEST(Vocabulary, ReadsAFile) {
  ImageBuilder image = image_with_tokens(3);
  float_scores(image);
  image.u32("tokenizer.ggml.padding_token_id", 0xFFFFFFFF);
  image.key("tokenizer.ggml.add_bos_token", GgufType::kBool).raw<std::uint8_t>(0);
  const auto file = GgufFile::parse(image.bytes(), "model.gguf").value();
  const auto tokenizer = Tokenizer::create(*file).value();
  EXPECT_EQ(tokenizer->vocabulary().size(), 3);
  EXPECT_EQ(tokenizer->vocabulary().token(1).score, -2.0f);
  EXPECT_EQ(tokenizer->vocabulary().special().pad, std::nullopt);
  EXPECT_FALSE(tokenizer->vocabulary().adds_bos());
}

TEST(Vocabulary, NamesTheKeyOfTheWrongType) {
  ImageBuilder scores = image_with_tokens(1);
  scores.array("tokenizer.ggml.scores", GgufType::kU8, 3).raw<std::uint8_t>(1);
  scores.raw<std::uint8_t>(2).raw<std::uint8_t>(3);
  EXPECT_THAT(error_of(scores), HasSubstr("model.gguf: tokenizer.ggml.scores: wrong element type"));

  ImageBuilder types = image_with_tokens(2);
  float_scores(types).array("tokenizer.ggml.token_type", GgufType::kF32, 3);
  types.raw(1.0f).raw(1.0f).raw(1.0f);
  EXPECT_THAT(error_of(types), HasSubstr("tokenizer.ggml.token_type: wrong element type"));

  ImageBuilder id = image_with_tokens(2);
  float_scores(id).u32("tokenizer.ggml.eos_token_id", 3);
  EXPECT_THAT(error_of(id), HasSubstr("eos_token_id: token id outside the vocabulary"));

  ImageBuilder pad = image_with_tokens(2);
  float_scores(pad).u32("tokenizer.ggml.padding_token_id", 3);
  EXPECT_EQ(error_of(pad), "no error");  // decides nothing: a warning is enough

  ImageBuilder no_model;
  no_model.header(0, 1).u32("general.quantization_version", 2);
  EXPECT_THAT(error_of(no_model), HasSubstr("tokenizer.ggml.model"));
}

}  // namespace
}  // namespace tandem
