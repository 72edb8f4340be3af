#pragma once

#include <memory>
#include <vector>

#include "nn/layers.h"

namespace tandem {

// The rows of the token embedding of a step's tokens, one a token in their order, in host memory.
struct EmbeddedTokens {
  ElementType type = ElementType::kF32;
  std::span<const std::byte> rows;  // [num_tokens, hidden]
};

// One rank's part of the model: its stage's layers over its shard. A step goes
//   begin(batch), embed() or a receive into hidden(), run_layers(), then a send of hidden(), or
//   gather_output_rows() and logits(). A rank of an earlier stage that holds rows of the output
//   matrix receives output_rows() for its logits() later, in between other steps.
// Used by its rank's thread alone.
class Decoder {
 public:
  // spec must outlive this.
  Decoder(const ModelSpec& spec, RankShard shard, DecoderParameters parameters,
          Activations activations, KvCache kv_cache);

  // Takes the step's batch, which must stay valid until the stream has passed the step.
  void begin(Stream& stream, const StepBatch& batch);
  // hidden = rows of the embedding, scaled. First stage. `tokens` may go when the stream has
  // passed.
  void embed(Stream& stream, const EmbeddedTokens& tokens);
  // [num_tokens, hidden] of the current step: the stage's input, and after run_layers() its result.
  MatrixView hidden() const;
  // Reduces over `group` twice a layer; returns its errors.
  Status run_layers(Stream& stream, Communicator& group);
  // [num_tokens, hidden]: hidden() after the output norm, what the output matrix sees. Last stage,
  // after run_layers(). Device memory, until the next step.
  MatrixView normed_hidden(Stream& stream);
  // [num_rows, hidden]: the rows of hidden states whose logits are wanted.
  MatrixView output_rows(std::int64_t num_rows) const;
  // Fills output_rows() with those of the current step. Last stage.
  MatrixView gather_output_rows(Stream& stream);
  // [num_rows, local vocabulary] of what lies in output_rows(). Device memory, until the next call.
  MatrixView logits(Stream& stream, std::int64_t num_rows);
  // The `count` best of each row of logits(), count <= kMostCandidates and the local vocabulary, as
  // Ops::top_k() gives them. Device memory, until the next call.
  struct Best {
    const float* logits = nullptr;         // [rows, count]
    const std::int32_t* tokens = nullptr;  // of this rank's vocabulary
  };
  Best best(Stream& stream, MatrixView logits, std::int32_t count);
  // As LogitPicker::sum_exponentials() gives them. Device memory, until the next call.
  struct Sums {
    const float* largest = nullptr;  // [rows]
    const float* sums = nullptr;
  };
  Sums sums(LogitPicker& picker, MatrixView logits);

  std::int64_t weights_bytes() const { return parameters_.size_bytes(); }
  std::int64_t kv_bytes() const { return kv_cache_.size_bytes(); }
  std::int64_t compute_bytes() const { return activations_.size_bytes(); }

 private:
  const ModelSpec& spec_;
  RankShard shard_;
  DecoderParameters parameters_;
  Activations activations_;
  KvCache kv_cache_;
  const StepBatch* batch_ = nullptr;
  std::vector<SequenceSlice> sequences_;
  std::vector<std::int32_t> row_numbers_;  // 0, 1, ...
};

}  // namespace tandem
