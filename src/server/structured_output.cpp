#include "server/structured_output.h"

#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/grammar/gbnf_parser.h"
#include "engine/grammar/grammar_constraint.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/tool_call_grammar.h"

namespace tandem {
namespace {

Result<Grammar> compile(const ConstraintRequest& request) {
  using Kind = ConstraintRequest::Kind;
  if (request.kind == Kind::kGbnf) return parse_gbnf(request.text);
  if (request.kind == Kind::kJsonObject) return any_json_object_grammar();
  const Json json = Json::parse(request.text, nullptr, false);
  if (json.is_discarded()) return invalid_argument("the schema is not valid JSON");
  if (request.kind == Kind::kJsonSchema) return grammar_of_json_schema(json);
  return tool_call_grammar(request.call_format, json, request.several_calls);
}

// The vocabulary as grammars walk it. Made when it is first needed: that takes a while for a large
// one, and most servers never hold an answer to anything.
class SharedTries {
 public:
  explicit SharedTries(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}

  // with_control: marks of calls may be tokens of their own ("[TOOL_CALLS]").
  std::shared_ptr<const TokenTrie> get(bool with_control) {
    const std::lock_guard lock(mutex_);
    auto& trie = tries_[with_control ? 1 : 0];
    if (!trie) trie = std::make_shared<const TokenTrie>(TokenTrie::of(*tokenizer_, with_control));
    return trie;
  }

 private:
  const std::shared_ptr<const Tokenizer> tokenizer_;
  std::mutex mutex_;
  std::shared_ptr<const TokenTrie> tries_[2];  // guarded by mutex_
};

}  // namespace

std::function<Result<ConstraintMaker>(const ConstraintRequest&)> make_constraint_compiler(
    std::shared_ptr<const Tokenizer> tokenizer) {
  const auto tries = std::make_shared<SharedTries>(tokenizer);
  return [tokenizer, tries](const ConstraintRequest& request) -> Result<ConstraintMaker> {
    TANDEM_TRY(auto compiled, compile(request));
    const auto grammar = std::make_shared<const Grammar>(std::move(compiled));
    const auto trie = tries->get(request.kind == ConstraintRequest::Kind::kToolCalls);
    return ConstraintMaker([grammar, trie, tokenizer] {
      return std::make_unique<GrammarConstraint>(grammar, trie, tokenizer);
    });
  };
}

}  // namespace tandem
