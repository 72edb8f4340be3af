// Embeddings and ranking, over a scripted model whose hidden states are known.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "gguf/gguf_file.h"
#include "gguf/gguf_writer.h"
#include "server/embedding_run.h"
#include "server/model_server_fixture_for_test.h"
#include "server/native/rerank_head.h"

namespace tandem {
namespace {

using nlohmann::json;

class EmbeddingTest : public ModelServerFixture {
 protected:
  std::vector<float> expected(std::string_view text, std::int32_t norm = 2) {
    std::vector<float> hidden = scripted_hidden(tokenizer_->encode(text));
    normalise(hidden, norm);
    return hidden;
  }
  static void expect_near(const json& numbers, const std::vector<float>& wanted) {
    ASSERT_EQ(numbers.size(), wanted.size()) << numbers;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_NEAR(numbers[i].get<float>(), wanted[i], 1e-5f);
    }
  }
};

TEST_F(EmbeddingTest, OfOneTextOrMany) {
  start();
  const json one = json::parse(post("/v1/embeddings", {{"input", "hello"}}).body);
  EXPECT_EQ(one["object"], "list");
  expect_near(one["data"][0]["embedding"], expected("hello"));
  EXPECT_EQ(one["usage"]["prompt_tokens"], tokenizer_->encode("hello").size());
  const json two = json::parse(post("/v1/embeddings", {{"input", {"hello", "hello world"}}}).body);
  ASSERT_EQ(two["data"].size(), 2u);
  EXPECT_EQ(two["data"][1]["index"], 1);
  expect_near(two["data"][1]["embedding"], expected("hello world"));
  const json ids =
      json::parse(post("/v1/embeddings", {{"input", {tokenizer_->encode("hello")}}}).body);
  expect_near(ids["data"][0]["embedding"], expected("hello"));
}

TEST_F(EmbeddingTest, OfMoreTextsThanTheQueueHolds) {
  EngineOptions engine;
  engine.max_queued = 4;
  start({}, {.max_sequences = 2}, engine);
  json texts = json::array();
  for (int i = 0; i < 300; ++i) texts.push_back("text " + std::to_string(i));
  const TestResponse response = post("/v1/embeddings", {{"input", texts}});
  ASSERT_EQ(response.status, 200) << response.body;
  const json data = json::parse(response.body)["data"];
  ASSERT_EQ(data.size(), 300u);
  expect_near(data[299]["embedding"], expected("text 299"));
  EXPECT_TRUE(becomes_idle());
}

TEST_F(EmbeddingTest, InBase64AndShortened) {
  start();
  const json body =
      json::parse(post("/v1/embeddings", {{"input", "hello"}, {"encoding_format", "base64"}}).body);
  // 12 bytes are 16 characters without padding.
  EXPECT_EQ(body["data"][0]["embedding"].get<std::string>().size(), 16u);
  const json two =
      json::parse(post("/v1/embeddings", {{"input", "hello"}, {"dimensions", 2}}).body);
  std::vector<float> wanted = expected("hello", -1);
  wanted.resize(2);
  normalise(wanted, 2);
  expect_near(two["data"][0]["embedding"], wanted);
}

TEST_F(EmbeddingTest, RefusesWhatMakesNoSense) {
  start();
  const auto refused = [&](const json& body) {
    EXPECT_EQ(post("/v1/embeddings", body).status, 400) << body.dump().substr(0, 60);
  };
  refused({{"input", json::array()}});
  refused({{"input", ""}});
  refused({{"input", {"a", 3}}});
  refused({{"input", {{99999999}}}});
  refused({{"input", json::object()}});
  refused({{"input", "a"}, {"encoding_format", "int8"}});
  refused({{"input", "a"}, {"dimensions", 4}});
  refused({{"input", "a"}, {"dimensions", 0}});
  refused({{"input", std::vector<std::string>(3000, "a")}});
  refused({{"input", std::string(5000, 'x')}});
  EXPECT_TRUE(becomes_idle());
}

TEST_F(EmbeddingTest, LlamaServersForm) {
  start();
  const json list =
      json::parse(post("/embedding", {{"content", "hello"}, {"embd_normalize", -1}}).body);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["index"], 0);
  expect_near(list[0]["embedding"][0], expected("hello", -1));
}

TEST(Normalise, TakesLlamaCppsNorms) {
  const auto with = [](std::int32_t norm) {
    std::vector<float> x = {3, -4};
    normalise(x, norm);
    return x;
  };
  EXPECT_EQ(with(-1), (std::vector<float>{3, -4}));
  EXPECT_EQ(with(0), (std::vector<float>{24570, -32760}));
  EXPECT_NEAR(with(1)[1], -4.0f / 7, 1e-6f);
  EXPECT_NEAR(with(2)[0], 0.6f, 1e-6f);
  EXPECT_NEAR(with(3)[0], 3 / std::cbrt(91.0f), 1e-6f);
  std::vector<float> zeros = {0, 0};
  normalise(zeros, 2);
  EXPECT_EQ(zeros, (std::vector<float>{0, 0}));
}

TEST_F(EmbeddingTest, RanksOnlyWhereTheModelCan) {
  start();
  EXPECT_EQ(post("/v1/rerank", {{"query", "a"}, {"documents", {"b"}}}).status, 501);
}

// A head of two labels over the scripted model's three numbers.
std::shared_ptr<const GgufFile> file_with_head() {
  const std::string path = testing::TempDir() + "tandem_rerank_head_test.gguf";
  GgufWriter writer;
  writer.set_string("general.architecture", "qwen3");
  writer.set_string("tokenizer.chat_template.rerank", "Q {query} D {document} {query}");
  writer.declare_tensor("cls.output.weight", ElementType::kF32, {3, 2});
  const std::array<float, 6> weights = {0.01f, 0.02f, 0.03f, -0.01f, 0.0f, 0.02f};
  const Status written =
      writer.write(path, [&](std::size_t, std::int64_t offset, std::span<std::byte> chunk) {
        const auto bytes = std::as_bytes(std::span(weights));
        std::memcpy(chunk.data(), bytes.data() + offset, chunk.size());
        return Status();
      });
  EXPECT_TRUE(written.ok());
  return GgufFile::open(path).value();
}

TEST_F(EmbeddingTest, RanksDocuments) {
  model_.rerank = RerankHead::from_gguf(*file_with_head(), kScriptedHiddenSize).value();
  ASSERT_TRUE(model_.rerank);
  start();
  const auto score = [&](const std::string& document) {
    const std::string prompt = "Q {document} D " + document + " {document}";
    const auto tokens = tokenizer_->encode(prompt, {.add_special = false, .parse_special = true});
    const std::vector<float> h = scripted_hidden(tokens);
    const double a = 0.01 * h[0] + 0.02 * h[1] + 0.03 * h[2];
    const double b = -0.01 * h[0] + 0.02 * h[2];
    return 1 / (1 + std::exp(b - a));
  };
  const std::vector<std::string> documents = {"one", "two", "three", "four"};
  // A query that spells a place is text like any other.
  const json request = {{"query", "{document}"}, {"documents", documents}, {"top_n", 3}};
  const TestResponse response = post("/v1/rerank", request);
  ASSERT_EQ(response.status, 200) << response.body;
  const json results = json::parse(response.body)["results"];
  ASSERT_EQ(results.size(), 3u);
  double last = 2;
  for (const json& result : results) {
    const double wanted = score(documents[result["index"].get<std::size_t>()]);
    EXPECT_NEAR(result["relevance_score"].get<double>(), wanted, 1e-5);
    EXPECT_LE(wanted, last);
    last = wanted;
  }
  EXPECT_EQ(post("/rerank", {{"query", "a"}}).status, 400);
  EXPECT_EQ(post("/rerank", {{"documents", {"a"}}}).status, 400);
  EXPECT_EQ(post("/rerank", {{"query", 1}, {"documents", {"a"}}}).status, 400);
}

TEST(RerankHead, ThatDoesNotFitIsRefused) {
  EXPECT_FALSE(RerankHead::from_gguf(*file_with_head(), 4).ok());
}

}  // namespace
}  // namespace tandem
