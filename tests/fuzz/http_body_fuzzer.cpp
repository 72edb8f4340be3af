// Request bodies through every route that reads one, to the answer's end: JSON, fields, sampling,
// grammars and schemas, messages and tools through a chat template, a scripted model, the answer's
// writer. The first byte chooses route and template. What is answered must be JSON (or events of
// it), come soon, and never be a server's error.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/scripted_runner_for_test.h"
#include "gguf/gguf_file.h"
#include "gguf/image_builder_for_test.h"
#include "server/anthropic/messages.h"
#include "server/metrics.h"
#include "server/native/completion.h"
#include "server/native/embedding.h"
#include "server/native/native.h"
#include "server/native/rerank.h"
#include "server/native/rerank_head.h"
#include "server/openai/chat.h"
#include "server/openai/completions.h"
#include "server/openai/embeddings.h"
#include "server/openai/responses.h"
#include "server/structured_output.h"
#include "text/chat_template.h"
#include "text/vocabularies_for_test.h"

namespace {

using namespace tandem;

struct Route {
  const char* path;
  void (*serve)(const ServedModel&, std::shared_ptr<HttpExchange>);
};

constexpr Route kRoutes[] = {{"/v1/chat/completions", serve_chat},
                             {"/v1/completions", serve_completions},
                             {"/v1/messages", serve_messages},
                             {"/v1/messages/count_tokens", serve_count_tokens},
                             {"/v1/responses", serve_responses},
                             {"/v1/embeddings", serve_embeddings},
                             {"/completion", serve_native_completion},
                             {"/infill", serve_infill},
                             {"/embedding", serve_native_embedding},
                             {"/tokenize", serve_tokenize},
                             {"/detokenize", serve_detokenize},
                             {"/apply-template", serve_apply_template},
                             {"/rerank", serve_rerank}};

// Knows tools and takes messages apart, so that all kinds of values reach the template's code.
constexpr std::string_view kTemplate =
    "{% for m in messages %}{{ m.role }}:{% if m.content is string %}{{ m.content }}{% else %}"
    "{{ m.content | tojson }}{% endif %}{% for c in m.tool_calls or [] %}{{ c | tojson }}"
    "{% endfor %}{% endfor %}{{ tools | tojson if tools else '' }}";

// Knows how to fill in the middle.
std::shared_ptr<const Tokenizer> make_fuzz_tokenizer() {
  VocabularyFields fields = small_bpe_fields();
  fields.special.fim_prefix = add_token(fields, "<|fim_prefix|>", TokenType::kControl);
  fields.special.fim_suffix = add_token(fields, "<|fim_suffix|>", TokenType::kControl);
  fields.special.fim_middle = add_token(fields, "<|fim_middle|>", TokenType::kControl);
  return make_tokenizer(std::move(fields));
}

std::shared_ptr<const RerankHead> make_head() {
  ImageBuilder image;
  image.header(1, 1).key("general.architecture", GgufType::kString).string("qwen3");
  image.tensor("cls.output.weight", {std::uint64_t{kScriptedHiddenSize}, 2}, 0 /* F32 */, 0)
      .pad_to(32);
  image.zeros(kScriptedHiddenSize * 2 * sizeof(float));
  return RerankHead::from_gguf(*GgufFile::parse(image.bytes(), "head").value(), kScriptedHiddenSize)
      .value();
}

ServedModel make_model(std::string_view source) {
  static ServerMetrics metrics;
  static const std::shared_ptr<const Tokenizer> tokenizer = make_fuzz_tokenizer();
  static Engine engine(
      [] {
        // Long enough for a tool's call, short enough for many runs a second.
        ScriptedRunnerOptions options{.block_tokens = 32, .num_blocks = 32};
        options.vocabulary_size = tokenizer->vocabulary().size();
        return std::make_unique<ScriptedRunner>(options);
      }(),
      tokenizer,
      [] {
        EngineOptions options;
        options.make_sampler = make_sampler_factory(tokenizer);
        return options;
      }());
  ServedModel model;
  model.engine = &engine;
  model.tokenizer = tokenizer;
  model.chat_template =
      std::make_shared<ChatTemplate>(ChatTemplate::create(source, "<|bos|>", "<|eos|>").value());
  model.make_constraint = make_constraint_compiler(tokenizer);
  model.default_max_tokens = 16;
  model.embedding_length = kScriptedHiddenSize;
  model.rerank = make_head();
  model.metrics = &metrics;
  return model;
}

[[noreturn]] void complain(const char* what, const std::string& answer) {
  std::fprintf(stderr, "%s: %s\n", what, answer.c_str());
  std::abort();
}

// Runs what is posted on the caller's thread, until the request is answered.
class FuzzExchange : public HttpExchange {
 public:
  explicit FuzzExchange(HttpRequest request) : request_(std::move(request)) {}

  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override {
    if (response.status == 500) complain("a server's error", response.body);
    if (!nlohmann::json::accept(response.body)) complain("no JSON", response.body);
    is_over_ = true;
  }
  void begin_stream(HttpResponse) override {}
  void send(std::string piece) override {
    const std::size_t data = piece.find("data: ");
    const std::string text = piece.substr(data + 6, piece.size() - data - 8);
    if (text != "[DONE]" && !nlohmann::json::accept(text)) complain("no JSON", piece);
  }
  void end_stream() override { is_over_ = true; }
  void abort() override { is_over_ = true; }
  std::size_t unsent_bytes() const override { return 0; }
  void when_there_is_room(std::function<void()> task) override { post(std::move(task)); }
  void on_gone(std::function<void()>) override {}
  void post(std::function<void()> task) override {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }
  void post_after(std::int64_t, std::function<void()>) override {}

  void run() {
    while (!is_over_) {
      std::unique_lock lock(mutex_);
      const bool is_alive =
          wake_.wait_for(lock, std::chrono::seconds(20), [this] { return !tasks_.empty(); });
      if (!is_alive) complain("no answer", request_.body);
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

 private:
  const HttpRequest request_;
  bool is_over_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ServedModel models[] = {make_model(ChatTemplate::kChatMl), make_model(kTemplate)};
  if (size == 0) return 0;
  const Route& route = kRoutes[data[0] % std::size(kRoutes)];
  const ServedModel& model = models[data[0] / std::size(kRoutes) % std::size(models)];
  HttpRequest request;
  request.path = route.path;
  request.body.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  parse_target(request.body, request);
  request.path = route.path;
  const auto exchange = std::make_shared<FuzzExchange>(std::move(request));
  route.serve(model, exchange);
  exchange->run();
  return 0;
}
