#include "tokenizer_exercise.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "gguf/gguf_file.h"
#include "text/detokenizer.h"
#include "text/pre_tokenizer_catalogue.h"
#include "text/stop_strings.h"
#include "text/utf8.h"
#include "text/vocabularies_for_test.h"

namespace tandem {
namespace {

using Tokenizers = std::vector<std::unique_ptr<const Tokenizer>>;

const Tokenizers& bpe_tokenizers() {
  static const Tokenizers kTokenizers = [] {
    Tokenizers made;
    for (const auto& spec : all_pre_tokenizers()) {
      made.push_back(make_tokenizer(small_bpe_fields(std::string(spec.names.front()))));
    }
    return made;
  }();
  return kTokenizers;
}

const Tokenizer& spm_tokenizer() {
  static const auto kTokenizer = make_tokenizer(small_spm_fields());
  return *kTokenizer;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

void check_stream(const Tokenizer& tokenizer, const std::vector<std::int32_t>& tokens) {
  Detokenizer detokenizer(tokenizer);
  std::string out;
  for (const auto token : tokens) {
    const std::string part = detokenizer.push(token);
    TANDEM_CHECK(is_valid_utf8(part), "the detokenizer gave out half a character");
    out += part;
  }
  out += detokenizer.flush();
  const std::string whole = tokenizer.decode(tokens, {.strip_space_prefix = false});
  TANDEM_CHECK(out == to_valid_utf8(whole), "streamed and whole text differ");
}

void check_bpe(const Tokenizer& tokenizer, std::string_view text) {
  const auto plain = tokenizer.encode(text, {.add_special = false});
  TANDEM_CHECK(tokenizer.decode(plain) == text, "BPE round trip");
  check_stream(tokenizer, plain);
  const auto parsed = tokenizer.encode(text, {.add_special = false, .parse_special = true});
  TANDEM_CHECK(tokenizer.decode(parsed, {.render_special = true}) == text,
               "BPE round trip with special tokens");
  for (const auto token : plain) {
    TANDEM_CHECK(tokenizer.vocabulary().token(token).type != TokenType::kControl,
                 "text spelled a control token");
  }
}

void check_spm(std::string_view text) {
  const Tokenizer& tokenizer = spm_tokenizer();
  const auto plain = tokenizer.encode(text);
  check_stream(tokenizer, plain);
  // "▁" comes back as a space, and a space is put behind a user-defined token.
  if (!contains(text, "\xE2\x96\x81") && !contains(text, "<tag>")) {
    TANDEM_CHECK(tokenizer.decode(plain) == text, "SentencePiece round trip");
  }
  tokenizer.encode(text, {.add_special = true, .parse_special = true});
}

void check_stop_strings(std::string_view text, std::size_t cut) {
  const std::string stop(text.substr(0, std::min<std::size_t>(cut % 5, text.size())));
  const std::string_view rest = text.substr(stop.size());
  StopStrings strings = StopStrings::create({stop}).value();
  std::string out;
  for (std::size_t i = 0; i < rest.size(); i += cut % 7 + 1) {
    out += strings.push(rest.substr(i, cut % 7 + 1));
  }
  out += strings.flush();
  const std::size_t found = stop.empty() ? std::string_view::npos : rest.find(stop);
  TANDEM_CHECK(out == rest.substr(0, found), "stop strings depend on the cuts");
}

void exercise_vocabulary(std::span<const std::byte> image) {
  const auto file = GgufFile::parse(image, "fuzz.gguf");
  if (!file.ok()) return;
  const auto tokenizer = Tokenizer::create(**file);
  if (!tokenizer.ok()) return;
  const auto tokens = (*tokenizer)->encode("Hello, wörld! 1234 <|im_end|>\n\n  \xFF", {true, true});
  for (const auto token : tokens) {
    TANDEM_CHECK((*tokenizer)->vocabulary().contains(token), "a token outside the vocabulary");
  }
  check_stream(**tokenizer, tokens);
}

}  // namespace

void exercise_tokenizers(std::span<const std::byte> input) {
  const std::string_view bytes(reinterpret_cast<const char*>(input.data()), input.size());
  if (bytes.starts_with("GGUF")) {
    exercise_vocabulary(input);
    return;
  }
  if (bytes.size() < 2) return;
  const auto choice = static_cast<std::uint8_t>(bytes[0]);
  const auto cut = static_cast<std::uint8_t>(bytes[1]);
  const std::string_view text = bytes.substr(2);
  const Tokenizers& tokenizers = bpe_tokenizers();
  check_bpe(*tokenizers[choice % tokenizers.size()], text);
  check_spm(text);
  check_stop_strings(text, cut);
}

}  // namespace tandem
