#include "nn/activations.h"

#include <algorithm>

namespace tandem {
namespace {

// A zeroed matrix of float32 (or int32), or none where it has no elements.
Status make(Device& device, Stream& stream, std::int64_t rows, std::int64_t columns,
            std::unique_ptr<Buffer>& buffer) {
  const std::int64_t bytes = rows * columns * static_cast<std::int64_t>(sizeof(float));
  if (bytes == 0) return {};
  TANDEM_TRY(buffer, device.allocate(bytes));
  stream.fill_zero(buffer->data(), bytes);
  return {};
}

MatrixView view(const std::unique_ptr<Buffer>& buffer, std::int64_t rows, std::int64_t columns) {
  return dense(buffer ? buffer->floats() : nullptr, rows, columns);
}

std::int64_t bytes(const std::unique_ptr<Buffer>& buffer) {
  return buffer ? buffer->size_bytes() : 0;
}

}  // namespace

Result<Activations> Activations::create(Device& device, Stream& stream,
                                        const ActivationSizes& sizes) {
  Activations made;
  made.sizes_ = sizes;
  Buffers& buffers = made.buffers_;
  const std::int64_t tokens = sizes.max_tokens;
  const std::int64_t pairs = tokens * std::max<std::int64_t>(sizes.top_k, 1);
  const std::int64_t rows = sizes.max_output_rows;
  const std::int64_t candidates = sizes.vocabulary > 0 ? ActivationSizes::kMostCandidates : 0;
  struct Wanted {
    std::unique_ptr<Buffer>& buffer;
    std::int64_t rows;
    std::int64_t columns;
  };
  const Wanted wanted[] = {
      {buffers.hidden, tokens, sizes.hidden},
      {buffers.normed, tokens, sizes.hidden},
      {buffers.partial, tokens, sizes.hidden},
      {buffers.q, tokens, sizes.q},
      {buffers.k, tokens, sizes.kv},
      {buffers.v, tokens, sizes.kv},
      {buffers.attention_out, tokens, sizes.attention_out},
      {buffers.gate, pairs, sizes.gate},
      {buffers.up, pairs, sizes.ffn},
      {buffers.router_logits, tokens, sizes.num_experts},
      {buffers.expert_out, sizes.top_k > 0 ? pairs : 0, sizes.hidden},
      {buffers.expert_ids, tokens, sizes.top_k},
      {buffers.expert_weights, tokens, sizes.top_k},
      {buffers.positions, tokens, 1},
      {buffers.output_hidden, rows, sizes.hidden},
      {buffers.output_normed, rows, sizes.hidden},
      {buffers.logits, rows, sizes.vocabulary},
      {buffers.candidate_logits, rows, candidates},
      {buffers.candidate_tokens, rows, candidates},
      {buffers.logit_sums, rows, candidates > 0 ? 2 : 0},
  };
  for (const Wanted& one : wanted) {
    TANDEM_TRY_STATUS(make(device, stream, one.rows, one.columns, one.buffer));
  }
  return made;
}

std::int64_t Activations::size_bytes() const {
  const Buffers& all = buffers_;
  std::int64_t total = 0;
  for (const auto* buffer : {&all.hidden,
                             &all.normed,
                             &all.partial,
                             &all.q,
                             &all.k,
                             &all.v,
                             &all.attention_out,
                             &all.gate,
                             &all.up,
                             &all.router_logits,
                             &all.expert_out,
                             &all.expert_ids,
                             &all.expert_weights,
                             &all.positions,
                             &all.output_hidden,
                             &all.output_normed,
                             &all.logits,
                             &all.candidate_logits,
                             &all.candidate_tokens,
                             &all.logit_sums}) {
    total += bytes(*buffer);
  }
  return total;
}

MatrixView Activations::hidden(std::int64_t n) const {
  return view(buffers_.hidden, n, sizes_.hidden);
}
MatrixView Activations::normed(std::int64_t n) const {
  return view(buffers_.normed, n, sizes_.hidden);
}
MatrixView Activations::partial(std::int64_t n) const {
  return view(buffers_.partial, n, sizes_.hidden);
}
MatrixView Activations::q(std::int64_t n) const {
  return view(buffers_.q, n, sizes_.q);
}
MatrixView Activations::k(std::int64_t n) const {
  return view(buffers_.k, n, sizes_.kv);
}
MatrixView Activations::v(std::int64_t n) const {
  return view(buffers_.v, n, sizes_.kv);
}
MatrixView Activations::attention_out(std::int64_t n) const {
  return view(buffers_.attention_out, n, sizes_.attention_out);
}
MatrixView Activations::gate(std::int64_t n) const {
  return view(buffers_.gate, n, sizes_.gate);
}
MatrixView Activations::up(std::int64_t n) const {
  return view(buffers_.up, n, sizes_.ffn);
}
MatrixView Activations::router_logits(std::int64_t n) const {
  return view(buffers_.router_logits, n, sizes_.num_experts);
}
MatrixView Activations::expert_out(std::int64_t n) const {
  return view(buffers_.expert_out, n, sizes_.hidden);
}
std::int32_t* Activations::expert_ids() const {
  return static_cast<std::int32_t*>(buffers_.expert_ids->data());
}
float* Activations::expert_weights() const {
  return buffers_.expert_weights->floats();
}
std::int32_t* Activations::positions() const {
  return static_cast<std::int32_t*>(buffers_.positions->data());
}
MatrixView Activations::output_hidden(std::int64_t n) const {
  return view(buffers_.output_hidden, n, sizes_.hidden);
}
MatrixView Activations::output_normed(std::int64_t n) const {
  return view(buffers_.output_normed, n, sizes_.hidden);
}
MatrixView Activations::logits(std::int64_t n) const {
  return view(buffers_.logits, n, sizes_.vocabulary);
}
float* Activations::candidate_logits() const {
  return buffers_.candidate_logits->floats();
}
std::int32_t* Activations::candidate_tokens() const {
  return static_cast<std::int32_t*>(buffers_.candidate_tokens->data());
}
float* Activations::largest_logits() const {
  return buffers_.logit_sums->floats();
}
float* Activations::logit_sums() const {
  return buffers_.logit_sums->floats() + sizes_.max_output_rows;
}

}  // namespace tandem
