#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/gbnf_parser.h"
#include "engine/grammar/grammar_matcher.h"
#include "engine/grammar/json_schema.h"

namespace {

using tandem::Grammar;
using tandem::GrammarMatcher;
using tandem::Result;
using tandem::TokenTrie;

// Single bytes, and some longer pieces that JSON is made of.
std::shared_ptr<const TokenTrie> trie() {
  static const auto made = [] {
    std::vector<std::string> pieces = {"{\"",      "\":", "\", \"", "true", "null",
                                       "\xC3\xA9", "123", "abc",    "}]"};
    for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
    return std::make_shared<const TokenTrie>(pieces);
  }();
  return made;
}

Result<Grammar> grammar_from(std::string_view text) {
  if (!text.starts_with('{')) return tandem::parse_gbnf(text);
  const auto schema = nlohmann::ordered_json::parse(text, nullptr, false);
  if (schema.is_discarded()) return tandem::invalid_argument("no JSON");
  return tandem::grammar_of_json_schema(schema);
}

// Walks by the lowest allowed token or one that `seed` picks; all that a mask allows must be taken.
void walk(const std::shared_ptr<const Grammar>& grammar, std::uint32_t seed) {
  GrammarMatcher::Limits limits;
  limits.max_work = 200'000;
  limits.max_states = 2'000;
  limits.max_places = 100'000;
  limits.max_frames = 100'000;
  GrammarMatcher matcher(grammar, trie(), limits);
  for (int i = 0; i < 20; ++i) {
    std::vector<std::int32_t> allowed;
    const auto& bits = matcher.allowed_tokens();
    for (std::int32_t token = 0; token < trie()->vocabulary_size(); ++token) {
      if ((bits[static_cast<std::size_t>(token) / 64] >> (token % 64)) & 1)
        allowed.push_back(token);
    }
    if (allowed.empty()) return;
    seed = seed * 1664525u + 1013904223u;
    const bool taken = matcher.accept(allowed[(seed >> 8) % allowed.size()]);
    if (!taken && !matcher.failed()) __builtin_trap();
  }
}

}  // namespace

// The input is a GBNF grammar, or a JSON schema where it starts with '{'.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto grammar = grammar_from({reinterpret_cast<const char*>(data), size});
  if (!grammar.ok()) return 0;
  const auto shared = std::make_shared<const Grammar>(std::move(grammar).value());
  for (const std::uint32_t seed : {1u, 2u, 3u}) walk(shared, seed);
  return 0;
}
