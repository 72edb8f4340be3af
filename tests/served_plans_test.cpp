// The server over real plans of the default model: tensor, pipeline and hybrid, with speculation,
// and with a device that hangs while it answers.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/sampler.h"
#include "server/http/test_client_for_test.h"
#include "server/model_server.h"
#include "server/structured_output.h"
#include "support/devices_here.h"
#include "support/faulty_device.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tandem::test {
namespace {

using Json = nlohmann::json;

const ReferenceModel& model() {
  static const ReferenceModel loaded = [] {
    const std::string folder = std::string(TANDEM_SOURCE_DIR) + "/models/";
    ReferenceModel made;
    made.name = "kjv-tiny-q8_0";
    made.file = GgufFile::open(folder + "kjv-tiny-q8_0.gguf").value();
    made.spec = model_spec_from_gguf(*made.file).value();
    return made;
  }();
  return loaded;
}

// More than run at once, so that some wait.
const std::vector<std::string>& prompts() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> some = {
        "In the beginning", "The LORD is my",         "And Moses said unto", "Blessed are the",
        "Praise ye the",    "Now there was a man of", "For God so loved",    "And it came to pass"};
    if (is_slow_here()) some.resize(5);
    return some;
  }();
  return all;
}
int num_tokens() {
  return is_slow_here() ? 3 : 32;
}

// Of one request, streamed.
struct Answer {
  int status = 0;
  std::string text;
  std::string error;  // its last event, if that is one
  bool is_done = false;
};

Answer read_answer(const TestResponse& response) {
  Answer answer{.status = response.status, .text = {}, .error = {}, .is_done = false};
  if (response.status != 200) answer.error = response.body;
  for (std::size_t at = 0; (at = response.body.find("data: ", at)) != std::string::npos;) {
    const std::size_t end = response.body.find("\n\n", at);
    const std::string event = response.body.substr(at + 6, end - at - 6);
    at = end;
    answer.is_done = event == "[DONE]";
    if (answer.is_done) break;
    const Json json = Json::parse(event);
    if (json.contains("error")) answer.error = json["error"].dump();
    if (json.contains("choices")) answer.text += json["choices"][0].value("text", "");
  }
  return answer;
}

class ServedPlans : public testing::Test {
 protected:
  // Sums of floats in another order do not turn these answers; rounded activations may, but not
  // the few tokens that are asked of slow devices.
  static RunChoice exactly() {
    RunChoice run;
    run.arithmetic = is_slow_here() ? Arithmetic::kInt8 : Arithmetic::kFloat;
    return run;
  }

  void SetUp() override { TANDEM_SKIP_WHERE_NOTHING_RUNS(); }

  void serve(const SplitChoice& split, const RunChoice& run = exactly(),
             EngineOptions options = {}) {
    tokenizer_ = std::shared_ptr<const Tokenizer>(Tokenizer::create(*model().file).value());
    options.make_sampler = make_sampler_factory(tokenizer_);
    engine_ = std::make_unique<Engine>(start_here(model(), split, run).value(), tokenizer_,
                                       std::move(options));
    ModelServerOptions server;
    server.http.port = 0;
    server_ = ModelServer::start(std::move(server)).value();
    ServedModel served;
    served.engine = engine_.get();
    served.tokenizer = tokenizer_;
    served.chat_template =
        std::make_shared<ChatTemplate>(ChatTemplate::from_gguf(*model().file).value());
    served.make_constraint = make_constraint_compiler(tokenizer_);
    served.name = "kjv";
    server_->serve(served);
  }

  Answer ask(const std::string& prompt) const {
    const Json body = {{"prompt", prompt},
                       {"max_tokens", num_tokens()},
                       {"stream", true},
                       {"temperature", 0.0},
                       {"ignore_eos", true}};
    return read_answer(fetch(server_->port(), "POST", "/v1/completions", body.dump()));
  }

  // Of all prompts, asked at once.
  std::vector<Answer> ask_all() const {
    std::vector<std::future<Answer>> coming;
    for (const std::string& prompt : prompts()) {
      coming.push_back(std::async(std::launch::async, [&] { return ask(prompt); }));
    }
    std::vector<Answer> answers;
    for (auto& answer : coming) answers.push_back(answer.get());
    return answers;
  }

  // What one device says, each prompt alone.
  static const std::vector<std::string>& expected() {
    static const std::vector<std::string> texts = [] {
      ServedPlans alone;
      alone.serve({});
      std::vector<std::string> made;
      for (const std::string& prompt : prompts()) made.push_back(alone.ask(prompt).text);
      return made;
    }();
    return texts;
  }

  void expect_all_right() const {
    const std::vector<Answer> answers = ask_all();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      EXPECT_EQ(answers[i].error, "");
      EXPECT_TRUE(answers[i].is_done);
      EXPECT_EQ(answers[i].text, expected()[i]) << prompts()[i];
    }
    EXPECT_EQ(engine_->stats().counters.requests_failed, 0);
  }

  void TestBody() override {}

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ModelServer> server_;
};

class EachPlan : public ServedPlans, public testing::WithParamInterface<SplitChoice> {};

TEST_P(EachPlan, AnswersManyAtOnceAsOneDeviceAnswersEach) {
  serve(GetParam());
  expect_all_right();
}

// What was said before is said again: guesses come true. Looked up by the host alone, in answers
// longer than slow devices can give.
class EachPlanLookingUp : public EachPlan {};

TEST_P(EachPlanLookingUp, GuessingChangesNothing) {
  EngineOptions options;
  options.draft_tokens = 3;
  serve(GetParam(), exactly(), options);
  expect_all_right();
  const Json body = {{"prompt", "begat Isaac and begat Isaac and begat Isaac and"},
                     {"max_tokens", num_tokens()},
                     {"temperature", 0.0}};
  EXPECT_EQ(fetch(server_->port(), "POST", "/v1/completions", body.dump()).status, 200);
  EXPECT_GT(engine_->stats().counters.drafted_tokens, 0);
}

// The model that guesses is the same, so that each guess is right.
TEST_P(EachPlan, GuessingByASmallModelChangesNothing) {
  EngineOptions options;
  options.draft_tokens = 3;
  options.draft_model =
      std::make_shared<DraftModel>(start_here(model(), {}, exactly()).value(),
                                   DraftOptions{.max_drafts = 3, .min_probability = 0});
  serve(GetParam(), exactly(), options);
  expect_all_right();
  const EngineCounters counters = engine_->stats().counters;
  EXPECT_GT(counters.drafted_tokens, 0);
  EXPECT_EQ(counters.accepted_tokens, counters.drafted_tokens);
}

// Under an emulation the last alone, which has something of each.
std::vector<SplitChoice> plans() {
  const std::vector<SplitChoice> all = {{"Tensor", {{1, 1}}},
                                        {"Pipeline", {{1}, {1}}},
                                        {"Hybrid", {{1, 1}, {1, 1}}},
                                        {"UnequalHybrid", {{2, 1}, {1}}}};
  return is_slow_here() ? std::vector{all.back()} : all;
}

INSTANTIATE_TEST_SUITE_P(Plans, EachPlan, testing::ValuesIn(plans()),
                         [](const auto& param) { return param.param.name; });

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(EachPlanLookingUp);
INSTANTIATE_TEST_SUITE_P(Plans, EachPlanLookingUp,
                         testing::ValuesIn(is_slow_here() ? std::vector<SplitChoice>{} : plans()),
                         [](const auto& param) { return param.param.name; });

TEST_F(ServedPlans, ADeviceThatHangsFailsWhatItHeldAndTheRestGoesOn) {
  const SplitChoice hybrid{"Hybrid", {{1, 1}, {1, 1}}};
  std::vector<std::shared_ptr<Fault>> faults;
  RunChoice run = exactly();
  run.deadline_us = is_slow_here() ? 5'000'000 : 500'000;
  run.wrap_device = [&](int, std::unique_ptr<Device> device) {
    faults.push_back(std::make_shared<Fault>());
    return make_faulty(std::move(device), faults.back());
  };
  EngineOptions options;
  options.abandon_runner_after_ms = 50;
  options.rebuild_runner = [&]() -> Result<std::unique_ptr<ModelRunner>> {
    auto runtime = start_here(model(), hybrid, exactly());
    if (!runtime.ok()) return runtime.error();
    return std::unique_ptr<ModelRunner>(std::move(*runtime));
  };
  serve(hybrid, run, std::move(options));
  faults[3]->hang_after(is_slow_here() ? 60 : 400);  // in the middle of the first answers
  const std::vector<Answer> answers = ask_all();
  int num_failed = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].error.empty()) {
      ++num_failed;
      EXPECT_NE(answers[i].error.find("no device has made progress"), std::string::npos)
          << answers[i].error;
      EXPECT_EQ(expected()[i].find(answers[i].text), 0u) << "right as far as it came";
    } else {
      EXPECT_EQ(answers[i].text, expected()[i]) << prompts()[i];
    }
  }
  EXPECT_GE(num_failed, 1);
  EXPECT_LE(num_failed, 4) << "no more than run at once";
  EXPECT_EQ(fetch(server_->port(), "GET", "/health").status, 200);
  EXPECT_EQ(ask(prompts()[0]).text, expected()[0]);
  // What was left behind is freed once the device comes back.
  faults[3]->release();
  for (int i = 0; i < 5000 && faults[3].use_count() > 1; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(faults[3].use_count(), 1);
}

}  // namespace
}  // namespace tandem::test
