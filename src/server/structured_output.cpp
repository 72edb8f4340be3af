#include "server/structured_output.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/grammar/gbnf_parser.h"
#include "engine/grammar/grammar_constraint.h"
#include "engine/grammar/json_schema.h"

namespace tandem {
namespace {

Result<Grammar> compile(const ConstraintRequest& request) {
  switch (request.kind) {
    case ConstraintRequest::Kind::kGbnf:
      return parse_gbnf(request.text);
    case ConstraintRequest::Kind::kJsonObject:
      return any_json_object_grammar();
    case ConstraintRequest::Kind::kJsonSchema:
      break;
  }
  const Json schema = Json::parse(request.text, nullptr, false);
  if (schema.is_discarded()) return invalid_argument("the schema is not valid JSON");
  return grammar_of_json_schema(schema);
}

}  // namespace

std::function<Result<ConstraintMaker>(const ConstraintRequest&)> make_constraint_compiler(
    std::shared_ptr<const Tokenizer> tokenizer) {
  const auto trie = std::make_shared<const TokenTrie>(TokenTrie::of(*tokenizer));
  return [tokenizer, trie](const ConstraintRequest& request) -> Result<ConstraintMaker> {
    TANDEM_TRY(auto compiled, compile(request));
    const auto grammar = std::make_shared<const Grammar>(std::move(compiled));
    return ConstraintMaker([grammar, trie, tokenizer] {
      return std::make_unique<GrammarConstraint>(grammar, trie, tokenizer);
    });
  };
}

}  // namespace tandem
