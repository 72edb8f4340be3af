#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "server/field_reader.h"

namespace tandem {

class ChatTemplate;
class Tokenizer;
class ServerMetrics;

// What an answer must be, as a request says it.
struct ConstraintRequest {
  enum class Kind : std::uint8_t { kGbnf, kJsonSchema, kJsonObject };
  Kind kind = Kind::kGbnf;
  std::string text;  // the grammar, or the schema's JSON
};

using ConstraintMaker = std::function<std::unique_ptr<TokenConstraint>()>;

// The model behind the server's routes. Shared by them, outlived by none.
struct ServedModel {
  Engine* engine = nullptr;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;
  // Compiles a grammar or schema. Empty: such requests are refused.
  std::function<Result<ConstraintMaker>(const ConstraintRequest&)> make_constraint;
  SamplingParams default_sampling;
  std::int32_t default_max_tokens = -1;
  std::string name;        // --alias, or the file's name
  std::string model_path;  // for /props
  std::int64_t created_unix_s = 0;
  std::int64_t num_parameters = 0;
  std::int64_t file_bytes = 0;
  std::int64_t trained_context_tokens = 0;
  std::int32_t embedding_length = 0;
  std::string plan_json;  // the plan as `tandem plan --json` shows it
  ServerMetrics* metrics = nullptr;
};

}  // namespace tandem
