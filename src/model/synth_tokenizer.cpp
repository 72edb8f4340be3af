#include "model/synth_tokenizer.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "gguf/gguf_file.h"
#include "gguf/gguf_writer.h"

namespace tandem {
namespace {

// Token types (llama.h, enum llama_token_type).
constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kControl = 3;

constexpr std::int64_t kNumBytes = 256;
constexpr std::int64_t kNumSpecial = 2;

std::string utf8_of(std::uint32_t code_point) {  // below U+0800
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xc0 | (code_point >> 6)),
          static_cast<char>(0x80 | (code_point & 0x3f))};
}

// The character that stands for each byte in byte-level BPE: printable ones for themselves, the
// rest from U+0100 on (gpt-2's encoder.py, bytes_to_unicode).
std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  std::uint32_t next = 0x100;
  for (std::uint32_t byte = 0; byte < kNumBytes; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) ||
                           (byte >= 0xae && byte <= 0xff);
    tokens.push_back(utf8_of(printable ? byte : next++));
  }
  return tokens;
}

// Appends words until there are `count` tokens: each is an earlier word (at first a letter, or the
// space) and one more letter, and the merge that makes it is appended to `merges`.
void append_words(std::size_t count, std::vector<std::string>& tokens,
                  std::vector<std::string>& merges) {
  std::vector<std::string> stems = {tokens[' ']};
  for (char letter = 'a'; letter <= 'z'; ++letter) stems.emplace_back(1, letter);
  for (std::size_t i = 0; tokens.size() < count; ++i) {
    for (char letter = 'a'; letter <= 'z' && tokens.size() < count; ++letter) {
      merges.push_back(stems[i] + ' ' + letter);
      stems.push_back(stems[i] + letter);
      tokens.push_back(stems.back());
    }
  }
}

// Pads a per-token array of the source file, which the GGUF parser has held to one element type.
template <typename T>
GgufValue padded(GgufArray array, std::int64_t count, T filler) {
  std::get<std::vector<T>>(array.elements).resize(static_cast<std::size_t>(count), filler);
  return {GgufType::kArray, std::move(array)};
}

}  // namespace

Status copy_tokenizer(GgufWriter& writer, const GgufFile& source, std::int64_t vocabulary_size) {
  TANDEM_TRY(const GgufArray* tokens, source.get_array("tokenizer.ggml.tokens"));
  if (tokens->element_type != GgufType::kString)
    return malformed(source.name() + ": key 'tokenizer.ggml.tokens'", "wrong type",
                     "an array of strings",
                     "an array of " + std::string(name_of(tokens->element_type)));
  const auto num_tokens = static_cast<std::int64_t>(tokens->size());
  if (num_tokens > vocabulary_size) {
    return invalid_argument("the tokenizer of " + source.name() + " has more tokens than the shape",
                            fmt::format("at most {}", vocabulary_size), std::to_string(num_tokens));
  }
  std::vector<std::string> padding;  // owns what the padded array's views point to
  for (std::int64_t id = num_tokens; id < vocabulary_size; ++id)
    padding.push_back(fmt::format("[PAD{}]", id));

  for (const auto& [key, value] : source.metadata()) {
    if (!key.starts_with("tokenizer.")) continue;
    const GgufArray* array = value.as_array();
    if (array == nullptr || padding.empty()) {
      writer.set_value(key, value);
    } else if (key == "tokenizer.ggml.tokens") {
      GgufArray extended = *array;
      auto& names = std::get<std::vector<std::string_view>>(extended.elements);
      names.insert(names.end(), padding.begin(), padding.end());
      writer.set_value(key, {GgufType::kArray, std::move(extended)});
    } else if (key == "tokenizer.ggml.scores" && array->element_type == GgufType::kF32) {
      writer.set_value(key, padded(*array, vocabulary_size, -10000.0));
    } else if (key == "tokenizer.ggml.token_type" && array->element_type == GgufType::kI32) {
      // Not the type for unused tokens, which have no text: random weights choose them as often as
      // others, and who measures a server would see no answer. No merge leads to them in a prompt.
      writer.set_value(key, padded(*array, vocabulary_size, std::int64_t{kNormal}));
    } else {
      writer.set_value(key, value);
    }
  }
  return {};
}

Status set_synthetic_tokenizer(GgufWriter& writer, std::int64_t vocabulary_size) {
  if (vocabulary_size < kNumBytes + kNumSpecial)
    return invalid_argument("no room for a byte-level tokenizer in the vocabulary",
                            fmt::format("{} tokens or more", kNumBytes + kNumSpecial),
                            std::to_string(vocabulary_size));
  const auto num_tokens = static_cast<std::size_t>(vocabulary_size);
  std::vector<std::string> tokens = byte_tokens();
  std::vector<std::string> merges;
  append_words(num_tokens - kNumSpecial, tokens, merges);
  std::vector<std::int32_t> types(tokens.size(), kNormal);
  for (const auto* special : {"<|begin|>", "<|end|>"}) {
    tokens.emplace_back(special);
    types.push_back(kControl);
  }

  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", "llama-bpe");
  writer.set_strings("tokenizer.ggml.tokens", tokens);
  writer.set_i32s("tokenizer.ggml.token_type", types);
  writer.set_strings("tokenizer.ggml.merges", merges);
  writer.set_u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(num_tokens - 2));
  writer.set_u32("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(num_tokens - 1));
  writer.set_bool("tokenizer.ggml.add_bos_token", true);
  writer.set_string("tokenizer.chat_template",
                    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n"
                    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}");
  return {};
}

}  // namespace tandem
