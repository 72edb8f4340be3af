#include "text/special_tokens.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <span>
#include <string>
#include <unordered_map>

namespace tandem {
namespace {

using TextIndex = std::unordered_map<std::string_view, std::int32_t>;

constexpr std::string_view kEndOfTurn[] = {"<|eot_id|>",
                                           "<|im_end|>",
                                           "<|end|>",
                                           "<end_of_turn>",
                                           "<|endoftext|>",
                                           "<EOT>",
                                           "_<EOT>",
                                           "[EOT]",
                                           "<|end_of_text|>",
                                           "<｜end▁of▁sentence｜>",
                                           "<end_of_utterance>"};
constexpr std::string_view kEndOfMessage[] = {"<|eom_id|>"};
constexpr std::string_view kFimPrefix[] = {"<|fim_prefix|>",  "<fim-prefix>", "<fim_prefix>",
                                           "<｜fim▁begin｜>", "<PRE>",        "▁<PRE>",
                                           "<|code_prefix|>"};
constexpr std::string_view kFimSuffix[] = {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
                                           "<｜fim▁hole｜>", "<SUF>",        "▁<SUF>",
                                           "<|code_suffix|>"};
constexpr std::string_view kFimMiddle[] = {"<|fim_middle|>", "<fim-middle>", "<fim_middle>",
                                           "<｜fim▁end｜>",  "<MID>",        "▁<MID>",
                                           "<|code_middle|>"};
constexpr std::string_view kFimPad[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>"};
constexpr std::string_view kFimRepo[] = {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>",
                                         "<reponame>"};
constexpr std::string_view kFimSeparator[] = {"<|file_sep|>"};

constexpr std::string_view kEndOfGeneration[] = {"<|eot_id|>",
                                                 "<|im_end|>",
                                                 "<|end|>",
                                                 "<|return|>",
                                                 "<|call|>",
                                                 "<|flush|>",
                                                 "<|calls|>",
                                                 "<end_of_turn>",
                                                 "<|endoftext|>",
                                                 "</s>",
                                                 "<|eom_id|>",
                                                 "<EOT>",
                                                 "_<EOT>",
                                                 "[EOT]",
                                                 "[EOS]",
                                                 "<eos>",
                                                 "<|end_of_text|>",
                                                 "<turn|>",
                                                 "<end_of_utterance>",
                                                 "<|tool_response>"};

// The harmony format's marks are text that a reader of the answer needs (gpt-oss).
constexpr std::string_view kHarmonyMarks[] = {"<|channel|>", "<|message|>", "<|start|>",
                                              "<|constrain|>"};

// The tokens that may be one of those above: which all begin with one of a few bytes.
TextIndex index_of(const std::vector<VocabularyToken>& tokens) {
  TextIndex index;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& text = tokens[i].text;
    if (text.find_first_of("<[_\xE2") != 0) continue;
    index.emplace(text, static_cast<std::int32_t>(i));
  }
  return index;
}

std::optional<std::int32_t> find_text(const TextIndex& index, std::string_view text) {
  const auto found = index.find(text);
  if (found == index.end()) return std::nullopt;
  return found->second;
}

void detect(std::vector<VocabularyToken>& tokens, const TextIndex& index,
            std::optional<std::int32_t>& id, std::span<const std::string_view> texts) {
  for (std::size_t i = 0; i < texts.size() && !id; ++i) {
    id = find_text(index, texts[i]);
    if (id) tokens[static_cast<std::size_t>(*id)].type = TokenType::kControl;
  }
}

bool is_special(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

// llama-vocab.cpp, "Handle per token attributes".
void mark_phi3(std::vector<VocabularyToken>& tokens) {
  for (VocabularyToken& token : tokens) {
    const bool keeps =
        token.text == "<unk>" || token.text == "<s>" || token.text == "<|endoftext|>";
    token.strips_right = !keeps && (is_special(token.type) || token.text == "</s>");
  }
}

}  // namespace

void detect_special_tokens(std::vector<VocabularyToken>& tokens, SpecialTokens& special,
                           std::string_view model_name) {
  const TextIndex index = index_of(tokens);
  detect(tokens, index, special.eot, kEndOfTurn);
  detect(tokens, index, special.eom, kEndOfMessage);
  detect(tokens, index, special.fim_prefix, kFimPrefix);
  detect(tokens, index, special.fim_suffix, kFimSuffix);
  detect(tokens, index, special.fim_middle, kFimMiddle);
  detect(tokens, index, special.fim_pad, kFimPad);
  detect(tokens, index, special.fim_repo, kFimRepo);
  detect(tokens, index, special.fim_separator, kFimSeparator);

  std::string name(model_name);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos) {
    mark_phi3(tokens);
  }
}

std::vector<std::int32_t> detect_end_of_generation(std::vector<VocabularyToken>& tokens,
                                                   const SpecialTokens& special) {
  const TextIndex index = index_of(tokens);
  std::set<std::int32_t> ids;
  for (const auto& id : {special.fim_pad, special.fim_repo, special.fim_separator, special.eos,
                         special.eot, special.eom}) {
    if (id) ids.insert(*id);
  }
  for (const std::string_view text : kEndOfGeneration) {
    if (const auto id = find_text(index, text)) {
      ids.insert(*id);
      tokens[static_cast<std::size_t>(*id)].type = TokenType::kControl;
    }
  }
  for (const std::string_view text : kHarmonyMarks) {
    if (const auto id = find_text(index, text)) {
      tokens[static_cast<std::size_t>(*id)].type = TokenType::kUserDefined;
    }
  }
  // In the harmony format "<|end|>" closes one of several messages, not the answer.
  const auto end = find_text(index, "<|end|>");
  if (end && find_text(index, "<|return|>") && find_text(index, "<|call|>")) {
    ids.erase(*end);
    tokens[static_cast<std::size_t>(*end)].type = TokenType::kUserDefined;
  }
  return {ids.begin(), ids.end()};
}

}  // namespace tandem
