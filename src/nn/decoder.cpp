#include "nn/decoder.h"

#include <numeric>

namespace tandem {

Decoder::Decoder(const ModelSpec& spec, RankShard shard, DecoderParameters parameters,
                 Activations activations, KvCache kv_cache)
    : spec_(spec),
      shard_(shard),
      parameters_(std::move(parameters)),
      activations_(std::move(activations)),
      kv_cache_(std::move(kv_cache)) {}

void Decoder::begin(Stream& stream, const StepBatch& batch) {
  batch_ = &batch;
  sequences_.clear();
  for (const StepSequence& sequence : batch.sequences) {
    sequences_.push_back(
        {sequence.first_token, sequence.num_tokens, sequence.context_tokens, sequence.block_table});
  }
  const auto bytes = static_cast<std::int64_t>(batch.positions.size() * sizeof(std::int32_t));
  stream.copy_to_device(activations_.positions(), batch.positions.data(), bytes);
}

void Decoder::embed(Stream& stream, const EmbeddedTokens& tokens) {
  row_numbers_.resize(batch_->token_ids.size());
  std::iota(row_numbers_.begin(), row_numbers_.end(), 0);
  stream.embed(tokens.type, tokens.rows, row_numbers_, static_cast<float>(spec_.embedding_scale),
               hidden());
}

MatrixView Decoder::hidden() const {
  return activations_.hidden(batch_->num_tokens());
}

Status Decoder::run_layers(Stream& stream, Communicator& group) {
  LayerContext context{spec_,        shard_,     parameters_,
                       activations_, stream,     group,
                       *batch_,      sequences_, dynamic_cast<Overlapping*>(&group)};
  for (std::int32_t layer = 0; layer < shard_.num_layers; ++layer) {
    TANDEM_TRY_STATUS(run_attention(context, layer, kv_cache_.layer(layer)));
    TANDEM_TRY_STATUS(run_feed_forward(context, layer));
  }
  return settle(context);
}

MatrixView Decoder::normed_hidden(Stream& stream) {
  const MatrixView normed = activations_.normed(batch_->num_tokens());
  stream.rms_norm(hidden(), parameters_.output_norm.data(), static_cast<float>(spec_.norm_epsilon),
                  normed);
  return normed;
}

MatrixView Decoder::output_rows(std::int64_t num_rows) const {
  return activations_.output_hidden(num_rows);
}

MatrixView Decoder::gather_output_rows(Stream& stream) {
  const MatrixView x = output_rows(static_cast<std::int64_t>(batch_->output_rows.size()));
  if (x.rows > 0) stream.gather_rows(hidden(), batch_->output_rows, x);
  return x;
}

MatrixView Decoder::logits(Stream& stream, std::int64_t num_rows) {
  const MatrixView result = activations_.logits(num_rows);
  if (num_rows == 0 || parameters_.output == nullptr) return result;
  const MatrixView x = output_rows(num_rows);
  const MatrixView normed = activations_.output_normed(num_rows);
  stream.rms_norm(x, parameters_.output_norm.data(), static_cast<float>(spec_.norm_epsilon),
                  normed);
  const MatmulTarget target{parameters_.output.get(), nullptr, result};
  stream.matmul(normed, {&target, 1});
  if (spec_.final_soft_cap > 0.0) {
    stream.soft_cap(result, static_cast<float>(spec_.final_soft_cap));
  }
  return result;
}

Decoder::Best Decoder::best(Stream& stream, MatrixView logits, std::int32_t count) {
  const Best best{activations_.candidate_logits(), activations_.candidate_tokens()};
  stream.top_k(logits, count, activations_.candidate_logits(), activations_.candidate_tokens());
  return best;
}

Decoder::Sums Decoder::sums(LogitPicker& picker, MatrixView logits) {
  const Sums sums{activations_.largest_logits(), activations_.logit_sums()};
  picker.sum_exponentials(logits, activations_.largest_logits(), activations_.logit_sums());
  return sums;
}

}  // namespace tandem
