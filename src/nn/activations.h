#pragma once

#include <cstdint>
#include <memory>

#include "device/device.h"
#include "model/activation_sizes.h"

namespace tandem {

// A rank's activation buffers, allocated once for the largest step: a step allocates nothing.
// The views below are of the first `num_tokens` rows.
class Activations {
 public:
  // Blocks. Padding columns (see ActivationSizes) are zeroed here and never written again.
  static Result<Activations> create(Device& device, Stream& stream, const ActivationSizes& sizes);

  const ActivationSizes& sizes() const { return sizes_; }
  std::int64_t size_bytes() const;

  MatrixView hidden(std::int64_t num_tokens) const;   // [num_tokens, hidden]
  MatrixView normed(std::int64_t num_tokens) const;   // [num_tokens, hidden]
  MatrixView partial(std::int64_t num_tokens) const;  // [num_tokens, hidden]
  MatrixView q(std::int64_t num_tokens) const;        // [num_tokens, local q heads * head_dim]
  MatrixView k(std::int64_t num_tokens) const;        // [num_tokens, local kv heads * head_dim]
  MatrixView v(std::int64_t num_tokens) const;
  // Heads' results with padding; the heads begin at column sizes().attention_out_pad.
  MatrixView attention_out(std::int64_t num_tokens) const;
  // num_rows: tokens, or token-choice pairs. With padding as above.
  MatrixView gate(std::int64_t num_rows) const;
  MatrixView up(std::int64_t num_rows) const;
  MatrixView router_logits(std::int64_t num_tokens) const;
  MatrixView expert_out(std::int64_t num_rows) const;     // [token-choice pairs, hidden]
  std::int32_t* expert_ids() const;                       // [num_tokens, top_k]
  float* expert_weights() const;                          // [num_tokens, top_k]
  std::int32_t* positions() const;                        // [num_tokens]
  MatrixView output_hidden(std::int64_t num_rows) const;  // rows whose logits are wanted
  MatrixView output_normed(std::int64_t num_rows) const;
  MatrixView logits(std::int64_t num_rows) const;  // [num_rows, local vocabulary]
  float* candidate_logits() const;                 // [num_rows, up to kMostCandidates]
  std::int32_t* candidate_tokens() const;          // the same
  float* largest_logits() const;                   // [num_rows]
  float* logit_sums() const;                       // [num_rows], of exp(logit - largest)

 private:
  struct Buffers {
    std::unique_ptr<Buffer> hidden, normed, partial, q, k, v, attention_out, gate, up;
    std::unique_ptr<Buffer> router_logits, expert_out, expert_ids, expert_weights, positions;
    std::unique_ptr<Buffer> output_hidden, output_normed, logits;
    std::unique_ptr<Buffer> candidate_logits, candidate_tokens, logit_sums;
  };

  ActivationSizes sizes_;
  Buffers buffers_;
};

}  // namespace tandem
