#include "nn/layers.h"

#include <utility>

#include "tensor/element_type.h"

namespace tandem {

void settle(LayerContext& context) {
  const MatrixView residual = std::exchange(context.residual, {});
  if (residual.rows > 0) context.stream.add(context.activations.hidden(residual.rows), residual);
}

NormArgs take_norm(LayerContext& context, const float* weight) {
  const std::int64_t tokens = context.batch.num_tokens();
  return {context.activations.hidden(tokens), std::exchange(context.residual, {}), weight,
          static_cast<float>(context.spec.norm_epsilon), context.activations.normed(tokens)};
}

Status leave_reduced(LayerContext& context, MatrixView partial, const float* post_norm) {
  TANDEM_TRY_STATUS(context.group.all_reduce_sum(context.stream, partial));
  if (post_norm != nullptr) {
    const auto epsilon = static_cast<float>(context.spec.norm_epsilon);
    context.stream.rms_norm(partial, post_norm, epsilon, partial);
  }
  context.residual = partial;
  return {};
}

MatrixView row_parallel_input(MatrixView padded, std::int64_t pad, const Weight& weight,
                              std::int64_t begin) {
  const std::int64_t own_pad = begin % traits_of(weight.type()).block_elements;
  return padded.slice_columns(pad - own_pad, weight.columns());
}

}  // namespace tandem
