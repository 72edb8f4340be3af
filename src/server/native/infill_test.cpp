#include <gtest/gtest.h>

#include "server/model_server_fixture_for_test.h"

namespace tandem {
namespace {

using json = nlohmann::json;

class InfillTest : public ModelServerFixture {
 protected:
  // with_repository: tokens for other files as well.
  void start_with_marks(bool with_repository) {
    SpecialTokens& special = vocabulary_.special;
    const auto add = [this](const char* text) {
      return add_token(vocabulary_, text, TokenType::kControl);
    };
    special.fim_prefix = prefix_ = add("<|fim_prefix|>");
    special.fim_suffix = suffix_ = add("<|fim_suffix|>");
    special.fim_middle = middle_ = add("<|fim_middle|>");
    if (with_repository) {
      special.fim_repo = repository_ = add("<|repo_name|>");
      special.fim_separator = separator_ = add("<|file_sep|>");
    }
    start();
  }

  // Of texts and ids, in order.
  json ids(const std::vector<json>& parts) const {
    json list = json::array();
    for (const json& part : parts) {
      if (part.is_number()) {
        list.push_back(part);
        continue;
      }
      const EncodeOptions plain{.add_special = false, .parse_special = false};
      for (const auto token : tokenizer_->encode(part.get<std::string>(), plain)) {
        list.push_back(token);
      }
    }
    return list;
  }

  // What the model says after `prompt`: the scripted model's answer depends on each of its tokens.
  json completion(const json& prompt) {
    const TestResponse response =
        post("/completion", {{"prompt", prompt}, {"n_predict", 6}, {"ignore_eos", true}});
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }

  void expect_prompt(json request, const json& prompt) {
    request["n_predict"] = 6;
    request["ignore_eos"] = true;
    const TestResponse response = post("/infill", request);
    ASSERT_EQ(response.status, 200) << response.body;
    const json got = json::parse(response.body);
    const json wanted = completion(prompt);
    EXPECT_EQ(got["content"], wanted["content"]);
    EXPECT_EQ(got["tokens_evaluated"], wanted["tokens_evaluated"]);
    EXPECT_EQ(got["tokens_evaluated"], prompt.size());
  }

  std::int32_t prefix_ = 0, suffix_ = 0, middle_ = 0, repository_ = 0, separator_ = 0;
};

TEST_F(InfillTest, PutsTheMiddleLast) {
  start_with_marks(false);
  expect_prompt({{"input_prefix", "hello"}, {"input_suffix", " world"}},
                ids({prefix_, "hello", suffix_, " world", middle_}));
  expect_prompt({{"input_prefix", "a"}, {"input_suffix", "b"}, {"prompt", "begun"}},
                ids({prefix_, "a", suffix_, "b", middle_, "begun"}));
  expect_prompt(json::object(), ids({prefix_, suffix_, middle_}));
}

// A file that is edited may spell the marks: they are text there.
TEST_F(InfillTest, MarksInTheTextAreText) {
  start_with_marks(false);
  const std::string spelled = "<|fim_middle|>";
  const json prompt = ids({prefix_, spelled, suffix_, middle_});
  EXPECT_GT(prompt.size(), 4u);
  expect_prompt({{"input_prefix", spelled}}, prompt);
}

TEST_F(InfillTest, OtherFilesComeFirst) {
  start_with_marks(true);
  const json extra = {{{"filename", "a.h"}, {"text", "hello"}}, {{"text", "world"}}};
  expect_prompt({{"input_prefix", "x"}, {"input_suffix", "y"}, {"input_extra", extra}},
                ids({repository_, "myproject\n", separator_, "a.h\n", "hello\n", separator_, "\n",
                     "world\n", separator_, "filename\n", prefix_, "x", suffix_, "y", middle_}));
}

TEST_F(InfillTest, OtherFilesAreTextWhereThereAreNoMarksForThem) {
  start_with_marks(false);
  const json extra = {{{"filename", "a.h"}, {"text", "hello"}}};
  expect_prompt({{"input_prefix", "x"}, {"input_extra", extra}},
                ids({"hello\n", prefix_, "x", suffix_, middle_}));
}

TEST_F(InfillTest, RefusesWhatMakesNoSense) {
  start_with_marks(true);
  const auto status = [this](const json& body) { return post("/infill", body).status; };
  EXPECT_EQ(status({{"input_prefix", 1}}), 400);
  EXPECT_EQ(status({{"input_suffix", json::array()}}), 400);
  EXPECT_EQ(status({{"input_extra", "a"}}), 400);
  EXPECT_EQ(status({{"input_extra", {"a"}}}), 400);
  EXPECT_EQ(status({{"input_extra", {{{"filename", 1}, {"text", "a"}}}}}), 400);
  EXPECT_EQ(status({{"input_extra", {{{"filename", "a"}}}}}), 400);
  EXPECT_EQ(status({{"prompt", {"a"}}}), 400);
}

TEST_F(InfillTest, IsRefusedWhereTheVocabularyHasNoMarks) {
  start();
  const TestResponse response = post("/infill", {{"input_prefix", "a"}});
  EXPECT_EQ(response.status, 501);
  EXPECT_EQ(json::parse(response.body)["error"]["type"], "not_supported_error");
}

}  // namespace
}  // namespace tandem
