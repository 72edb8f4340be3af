#include "app/chat.h"

#include <editline/readline.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/interrupt.h"
#include "text/chat_template.h"

namespace tandem {
namespace {

// One line of input without its end, or nullopt at the end of input.
std::optional<std::string> read_line(bool is_terminal) {
  std::string line;
  if (!is_terminal) {
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  const InterruptWatch ignore_interrupts;  // at the prompt there is nothing to stop
  char* text = readline("> ");
  if (text == nullptr) return std::nullopt;
  line = text;
  if (!line.empty()) add_history(text);
  std::free(text);
  return line;
}

class Chat {
 public:
  Chat(LoadedModel& model, const SamplingOptions& sampling, ChatTemplate chat_template,
       std::string system_prompt)
      : model_(model),
        sampling_(sampling),
        template_(std::move(chat_template)),
        system_prompt_(std::move(system_prompt)) {
    clear();
  }

  void clear() {
    messages_ = nlohmann::ordered_json::array();
    if (!system_prompt_.empty()) {
      messages_.push_back({{"role", "system"}, {"content", system_prompt_}});
    }
  }

  // Answers `text`; a failed or too long message is taken back, so that the chat can go on.
  Status say(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    auto answered = answer_messages();
    if (!answered.ok()) {
      messages_.erase(messages_.size() - 1);
      return std::move(answered).error();
    }
    messages_.push_back({{"role", "assistant"}, {"content", answered->text}});
    return {};
  }

 private:
  Result<Answered> answer_messages() {
    ChatRequest chat;
    chat.messages = &messages_;
    TANDEM_TRY(const std::string prompt, template_.render(chat));
    GenerationRequest request;
    // Templates write their own beginning-of-text token where the model wants one.
    const bool add_special = template_.is_fallback();
    request.prompt =
        model_.tokenizer->encode(prompt, {.add_special = add_special, .parse_special = true});
    const Vocabulary& vocabulary = model_.tokenizer->vocabulary();
    TANDEM_TRY(request.sampling, sampling_params_of(sampling_, vocabulary.size()));
    request.max_tokens = sampling_.max_tokens;
    request.stop = sampling_.stop;
    request.ignore_eos = sampling_.ignore_eos;
    auto answered = answer(*model_.engine, std::move(request), [](const std::string& piece) {
      fmt::print("{}", piece);
      std::fflush(stdout);
    });
    fmt::print("\n");
    return answered;
  }

  LoadedModel& model_;
  const SamplingOptions& sampling_;
  ChatTemplate template_;
  std::string system_prompt_;
  nlohmann::ordered_json messages_;
};

}  // namespace

Status run_chat(LoadedModel& model, const SamplingOptions& sampling,
                const std::string& system_prompt) {
  TANDEM_TRY(ChatTemplate chat_template, ChatTemplate::from_gguf(*model.file));
  if (chat_template.is_fallback()) {
    fmt::print(stderr, "the model has no chat template: using ChatML\n");
  }
  const bool is_terminal = isatty(STDIN_FILENO) == 1;
  if (is_terminal) {
    fmt::print(stderr, "Ctrl-C stops an answer, /clear forgets the chat, /exit ends\n");
  }
  Chat chat(model, sampling, std::move(chat_template), system_prompt);
  while (const auto line = read_line(is_terminal)) {
    if (line->empty()) continue;
    if (*line == "/exit" || *line == "/quit") break;
    if (*line == "/clear") {
      chat.clear();
      continue;
    }
    const Status said = chat.say(*line);
    if (said.ok()) continue;
    if (!is_terminal) return said;
    fmt::print(stderr, "error: {}\n", said.error().to_string());
  }
  return {};
}

}  // namespace tandem
