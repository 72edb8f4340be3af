#include "text/tokenizer.h"

#include <charconv>
#include <utility>

#include "gguf/gguf_file.h"
#include "text/bpe_encoder.h"
#include "text/byte_alphabet.h"
#include "text/special_splitter.h"
#include "text/spm_encoder.h"
#include "text/utf8.h"

namespace tandem {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // "▁", U+2581

std::string unescape_spaces(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (text.substr(i).starts_with(kSpaceMark)) {
      out += ' ';
      i += kSpaceMark.size();
    } else {
      out += text[i++];
    }
  }
  return out;
}

// "<0x0A>" is the byte 10; what is spelled otherwise stands for itself.
std::string byte_of_token(std::string_view text) {
  if (text.size() == 6 && text.starts_with("<0x") && text.ends_with('>')) {
    unsigned byte = 0;
    const char* end = text.data() + 5;
    const auto [stop, error] = std::from_chars(text.data() + 3, end, byte, 16);
    if (error == std::errc() && stop == end) return std::string(1, static_cast<char>(byte));
  }
  return std::string(text);
}

// Byte by byte, what the alphabet spells; a character outside of it stands for itself.
std::string bytes_of_token(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Char c = read_utf8(text, i);
    const auto byte = byte_of_character(c.code_point);
    if (c.state == Utf8Char::State::kValid && byte) {
      out += static_cast<char>(*byte);
    } else {
      out += text.substr(i, c.num_bytes);
    }
    i += c.num_bytes;
  }
  return out;
}

}  // namespace

// The parts that turn text into tokens; one of spm and bpe is there.
class Tokenizer::Encoder {
 public:
  explicit Encoder(const Vocabulary& vocabulary) : splitter(vocabulary) {}

  SpecialSplitter splitter;
  std::unique_ptr<const SpmEncoder> spm;
  std::unique_ptr<const BpeEncoder> bpe;
};

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<const Tokenizer>> Tokenizer::create(const GgufFile& file) {
  TANDEM_TRY(VocabularyFields fields, read_vocabulary_fields(file));
  TANDEM_TRY(Vocabulary vocabulary, Vocabulary::create(std::move(fields)));
  return create(std::move(vocabulary));
}

Result<std::unique_ptr<const Tokenizer>> Tokenizer::create(Vocabulary vocabulary) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(vocabulary)));
  const Vocabulary& kept = tokenizer->vocabulary_;
  auto encoder = std::make_unique<Encoder>(kept);
  if (kept.model() == TokenizerModel::kSentencePiece) {
    encoder->spm = std::make_unique<const SpmEncoder>(kept);
  } else {
    TANDEM_TRY(encoder->bpe, BpeEncoder::create(kept));
  }
  tokenizer->encoder_ = std::move(encoder);
  return std::unique_ptr<const Tokenizer>(std::move(tokenizer));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text,
                                            const EncodeOptions& options) const {
  std::vector<std::int32_t> out;
  const SpecialTokens& special = vocabulary_.special();
  if (options.add_special && vocabulary_.adds_bos() && special.bos) out.push_back(*special.bos);
  encode_fragments(text, options, out);
  if (options.add_special && vocabulary_.adds_eos() && special.eos) out.push_back(*special.eos);
  return out;
}

void Tokenizer::encode_fragments(std::string_view text, const EncodeOptions& options,
                                 std::vector<std::int32_t>& out) const {
  bool is_behind_token = true;  // the beginning of the text counts as such
  for (const TextFragment& fragment : encoder_->splitter.split(text, options.parse_special)) {
    if (fragment.token) {
      out.push_back(*fragment.token);
    } else if (encoder_->bpe) {
      encoder_->bpe->encode(fragment.text, out);
    } else if (is_behind_token && vocabulary_.adds_space_prefix()) {
      encoder_->spm->encode(" " + std::string(fragment.text), out);
    } else {
      encoder_->spm->encode(fragment.text, out);
    }
    is_behind_token = fragment.token.has_value();
  }
}

std::string Tokenizer::piece(std::int32_t token, bool render_special) const {
  if (!vocabulary_.contains(token)) return {};
  const VocabularyToken& entry = vocabulary_.token(token);
  switch (entry.type) {
    case TokenType::kControl:
    case TokenType::kUnknown:
      return render_special ? entry.text : std::string();
    case TokenType::kUserDefined:
      return entry.text;
    case TokenType::kByte:
      return byte_of_token(entry.text);
    case TokenType::kNormal:
      return vocabulary_.model() == TokenizerModel::kSentencePiece ? unescape_spaces(entry.text)
                                                                   : bytes_of_token(entry.text);
    case TokenType::kUndefined:
    case TokenType::kUnused:
      break;
  }
  return {};
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens,
                              const DecodeOptions& options) const {
  std::string out;
  bool is_at_start = options.strip_space_prefix && vocabulary_.adds_space_prefix();
  for (const std::int32_t token : tokens) {
    std::string text = piece(token, options.render_special);
    const bool is_control =
        vocabulary_.contains(token) && vocabulary_.token(token).type == TokenType::kControl;
    if (is_at_start && !is_control) {
      if (text.starts_with(' ')) text.erase(0, 1);
      is_at_start = false;
    }
    out += text;
  }
  return out;
}

}  // namespace tandem
