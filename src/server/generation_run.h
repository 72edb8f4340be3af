#pragma once

#include <memory>
#include <vector>

#include "server/http/api_error.h"
#include "server/http/http_exchange.h"
#include "server/served_model.h"

namespace tandem {

// Writes a request's answers in some dialect. Called on the connection's executor.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  virtual void write_text(const TextEvent& event) = 0;
  // event.is_last: of all prompts' choices; the answer ends with it.
  virtual void write_finish(const FinishEvent& event) = 0;
  // The answer ends with it.
  virtual void write_error(const ApiError& error) = 0;
  // Nothing was sent for a while: a stream says that it is still there, and begins with that if it
  // has to. Answers that come whole send nothing.
  virtual void write_keep_alive() = 0;
};

// Hands the prompts to the engine, a few at a time, and their events to the writer; prompt i's
// choices are numbered on from those of the prompts before it. A client that goes cancels them all.
void run_generation(const ServedModel& model, const std::shared_ptr<HttpExchange>& exchange,
                    std::vector<GenerationRequest> requests, std::unique_ptr<AnswerWriter> writer);

}  // namespace tandem
