#include "nn/layers.h"

#include "tensor/element_type.h"

namespace tandem {

namespace {

void norm_after(LayerContext& context, MatrixView sum, const float* post_norm) {
  if (post_norm == nullptr) return;
  context.stream.rms_norm(sum, post_norm, static_cast<float>(context.spec.norm_epsilon), sum);
}

// Calls compute(first row, rows of partial), which enqueues on the stream, and reduces them.
template <typename Compute>
Status compute_and_reduce(LayerContext& context, MatrixView partial, const float* post_norm,
                          Compute&& compute) {
  const std::int64_t at_once =
      context.overlapping == nullptr ? partial.rows : context.overlapping->rows_at_once(partial);
  if (at_once >= partial.rows) {
    compute(std::int64_t{0}, partial);
    return leave_reduced(context, partial, post_norm);
  }
  context.residual = {partial, at_once, post_norm};
  return for_row_parts(partial.rows, at_once, [&](std::int64_t first, std::int64_t count) {
    const MatrixView part = partial.slice_rows(first, count);
    compute(first, part);
    return context.overlapping->begin_sum(context.stream, part);
  });
}

}  // namespace

Result<MatrixView> take_part(LayerContext& context, const Residual& residual, std::int64_t first,
                             std::int64_t count) {
  if (residual.rows_at_once == 0) return residual.sum;  // all of it, or nothing
  TANDEM_TRY_STATUS(context.overlapping->await_sum(context.stream));
  const MatrixView part = residual.sum.slice_rows(first, count);
  norm_after(context, part, residual.post_norm);
  return part;
}

Status settle(LayerContext& context) {
  const Residual residual = std::exchange(context.residual, {});
  const std::int64_t rows = residual.sum.rows;
  const MatrixView hidden = context.activations.hidden(rows);
  const std::int64_t at_once = residual.rows_at_once > 0 ? residual.rows_at_once : rows;
  return for_row_parts(rows, at_once, [&](std::int64_t first, std::int64_t count) -> Status {
    TANDEM_TRY(const MatrixView part, take_part(context, residual, first, count));
    context.stream.add(hidden.slice_rows(first, count), part);
    return {};
  });
}

Status leave_reduced(LayerContext& context, MatrixView partial, const float* post_norm) {
  TANDEM_TRY_STATUS(context.group.all_reduce_sum(context.stream, partial));
  norm_after(context, partial, post_norm);
  context.residual = {partial};
  return {};
}

Status multiply_and_reduce(LayerContext& context, MatrixView x, const Weight& weight,
                           MatrixView partial, const float* post_norm) {
  return compute_and_reduce(context, partial, post_norm,
                            [&](std::int64_t first, const MatrixView& part) {
                              const MatmulTarget target{&weight, nullptr, part};
                              context.stream.matmul(x.slice_rows(first, part.rows), {&target, 1});
                            });
}

Status reduce_nothing(LayerContext& context, MatrixView partial, const float* post_norm) {
  return compute_and_reduce(context, partial, post_norm, [&](std::int64_t, const MatrixView& part) {
    const auto bytes = static_cast<std::int64_t>(sizeof(float)) * part.rows * part.columns;
    context.stream.fill_zero(part.data, bytes);
  });
}

MatrixView row_parallel_input(MatrixView padded, std::int64_t pad, const Weight& weight,
                              std::int64_t begin) {
  const std::int64_t own_pad = begin % traits_of(weight.type()).block_elements;
  return padded.slice_columns(pad - own_pad, weight.columns());
}

}  // namespace tandem
