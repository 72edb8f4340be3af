#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "server/field_reader.h"
#include "text/tool_calls/tool_call_format.h"

namespace tandem {

class ChatTemplate;
class RerankHead;
class Tokenizer;
class ServerMetrics;

// What an answer must be, as a request says it.
struct ConstraintRequest {
  enum class Kind : std::uint8_t { kGbnf, kJsonSchema, kJsonObject, kToolCalls };
  Kind kind = Kind::kGbnf;
  std::string text;  // the grammar, the schema's JSON, or OpenAI's list of tools
  // For kToolCalls: how calls are written, and whether several may follow each other.
  ToolCallFormat call_format = ToolCallFormat::kHermes;
  bool several_calls = false;
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
  Pooling pooling = Pooling::kLast;          // of embeddings
  std::shared_ptr<const RerankHead> rerank;  // null: the model has no head that ranks
  std::string plan_json;                     // the plan as `tandem plan --json` shows it
  // A stream in which nothing was sent for this long gets a comment, so that proxies keep it open;
  // its first one commits the status to 200. 0: none.
  std::int64_t keep_alive_ms = 0;
  ServerMetrics* metrics = nullptr;
};

}  // namespace tandem
