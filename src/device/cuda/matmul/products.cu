#include "device/cuda/matmul/products.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked.h"
#include "device/cuda/matmul/float_product.h"
#include "device/cuda/matmul/group_experts.h"
#include "device/cuda/matmul/product_kernels.h"

namespace tandem::cuda {
namespace {

constexpr std::int64_t kAlignment = 256;

// With experts, from this many pairs on (on average, an expert).
constexpr std::int64_t kManyPairsFrom = 33;
// So few pairs are computed one by one, without sorting them first.
constexpr std::int32_t kUnsortedPairs = 32;

bool wants(std::span<const ViewTarget> targets, RoundedForm form) {
  return std::any_of(targets.begin(), targets.end(), [&](const ViewTarget& target) {
    return target.weight.type != ElementType::kF32 && rounded_form_for(target.weight.type) == form;
  });
}

constexpr RoundedForm kForms[] = {RoundedForm::kInt8, RoundedForm::kF16, RoundedForm::kBf16};

bool is_there(const ProductInput& input, RoundedForm form) {
  return form == RoundedForm::kInt8 && input.int8 != nullptr;
}

std::int64_t rounded_scratch(const ProductInput& input, std::span<const ViewTarget> targets) {
  std::int64_t bytes = 0;
  for (const RoundedForm form : kForms) {
    if (is_there(input, form) || !wants(targets, form)) continue;
    bytes += align_up(rounded_bytes(form, input.x.rows, input.x.columns), kAlignment);
  }
  return bytes;
}

// x in the forms that the targets want.
struct RoundedForms {
  RoundedX forms[3];
  std::uint8_t* end = nullptr;

  const RoundedX& for_type(ElementType type) const {
    return forms[static_cast<int>(rounded_form_for(type))];
  }
};

cudaError_t round_for(cudaStream_t stream, const ProductInput& input,
                      std::span<const ViewTarget> targets, void* scratch, RoundedForms& rounded) {
  const MatrixView& x = input.x;
  rounded.end = static_cast<std::uint8_t*>(scratch);
  for (const RoundedForm form : kForms) {
    if (!wants(targets, form)) continue;
    RoundedX& to = rounded.forms[static_cast<int>(form)];
    if (is_there(input, form)) {
      to = *input.int8;
      continue;
    }
    to = rounded_at(form, x.rows, x.columns, rounded.end);
    rounded.end += align_up(rounded_bytes(form, x.rows, x.columns), kAlignment);
    const cudaError_t error = round_rows(stream, form, x, to);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

void append(ProductBatch& batch, const ViewTarget& target) {
  ProductTarget& to = batch.targets[batch.num_targets++];
  to.weight = reinterpret_cast<const std::uint8_t*>(target.weight.data);
  to.expert_bytes = target.weight.expert_bytes;
  to.bias = target.bias;
  to.y = target.y.data;
  to.y_stride = target.y.row_stride;
  to.rows = static_cast<std::int32_t>(target.weight.rows);
  to.first_group = batch.num_groups;
  batch.group_bytes = kGroupRows * target.weight.row_bytes;  // equal: one type, one width
  batch.num_groups +=
      static_cast<std::int32_t>(ceil_div<std::int64_t>(target.weight.rows, kGroupRows));
}

// The next batch: the first target that is not done, and those of its type, as far as they fit.
ProductBatch next_batch(const ProductBatch& common, std::span<const ViewTarget> targets,
                        std::uint64_t& done, ElementType& type) {
  ProductBatch batch = common;
  std::size_t first = 0;
  while ((done >> first & 1) != 0) ++first;
  type = targets[first].weight.type;
  for (std::size_t i = first; i < targets.size() && batch.num_targets < kMaxTargets; ++i) {
    if ((done >> i & 1) != 0 || targets[i].weight.type != type) continue;
    done |= std::uint64_t{1} << i;
    append(batch, targets[i]);
  }
  return batch;
}

void check_targets(MatrixView x, std::span<const ViewTarget> targets, std::int64_t y_rows) {
  TANDEM_CHECK(targets.size() < 64, "a bit a target");
  for (const ViewTarget& target : targets) {
    TANDEM_CHECK(target.weight.columns == x.columns, "x has the weight's columns");
    TANDEM_CHECK(target.weight.layout == (target.weight.type == ElementType::kF32
                                              ? WeightLayout::kFileRows
                                              : WeightLayout::kFragments),
                 "a layout that these kernels read");
    TANDEM_CHECK(target.y.columns == target.weight.rows && target.y.rows == y_rows,
                 "y has the weight's rows, and x's");
  }
}

// Calls start(type, batch) for each batch of the targets.
template <typename Start>
cudaError_t for_batches(const ProductBatch& common, MatrixView x,
                        std::span<const ViewTarget> targets, const RoundedForms& rounded,
                        Start&& start) {
  std::uint64_t done = 0;
  const std::uint64_t all = (std::uint64_t{1} << targets.size()) - 1;
  while (done != all) {
    ElementType type = ElementType::kF32;
    ProductBatch batch = next_batch(common, targets, done, type);
    if (batch.num_groups == 0) continue;
    if (type != ElementType::kF32) {
      const FragmentTraits traits = fragment_traits(type);
      batch.x = rounded.for_type(type);
      batch.num_chunks = static_cast<std::int32_t>(traits.num_units(x.columns) * traits.chunks);
    }
    const cudaError_t error = start(type, batch);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

int tiles_of(std::int64_t rows, std::int64_t width) {
  return static_cast<int>(ceil_div(rows, width));
}

}  // namespace

bool reads_floats(std::span<const ViewTarget> targets) {
  return std::any_of(targets.begin(), targets.end(), [](const ViewTarget& target) {
    return target.weight.type == ElementType::kF32 ||
           rounded_form_for(target.weight.type) != RoundedForm::kInt8;
  });
}

bool reads_int8(std::span<const ViewTarget> targets) {
  return wants(targets, RoundedForm::kInt8);
}

std::int64_t products_scratch_bytes(const ProductInput& input,
                                    std::span<const ViewTarget> targets) {
  return rounded_scratch(input, targets);
}

cudaError_t products(cudaStream_t stream, const ProductInput& input,
                     std::span<const ViewTarget> targets, void* scratch) {
  const MatrixView& x = input.x;
  check_targets(x, targets, x.rows);
  if (x.rows == 0 || x.columns == 0 || targets.empty()) return cudaSuccess;
  RoundedForms rounded;
  const cudaError_t error = round_for(stream, input, targets, scratch, rounded);
  if (error != cudaSuccess) return error;
  ProductBatch common;
  common.num_rows = static_cast<std::int32_t>(x.rows);
  const auto start = [&](ElementType type, const ProductBatch& batch) {
    if (type == ElementType::kF32) {
      return float_product(stream, batch, x, tiles_of(x.rows, kFewRows));
    }
    const ProductKernels kernels = product_kernels(type);
    if (x.rows <= kFewRows) return kernels.few(stream, batch, 1);
    if (x.rows < kManyFrom) return kernels.some(stream, batch, tiles_of(x.rows, kSomeRows));
    return kernels.many(stream, batch, tiles_of(x.rows, kManyRows));
  };
  return for_batches(common, x, targets, rounded, start);
}

namespace {

bool are_alike(const WeightView& a, const WeightView& b) {
  return a.type == b.type && a.type != ElementType::kF32 && a.rows == b.rows &&
         a.columns == b.columns && a.num_experts == b.num_experts;
}

// Gate and up side by side: the groups of one.
cudaError_t start_gated(cudaStream_t stream, ProductBatch batch, const ProductInput& input,
                        std::span<const ViewTarget> targets, int column_tiles, GateKind kind,
                        void* scratch) {
  RoundedForms rounded;
  const cudaError_t error = round_for(stream, input, targets, scratch, rounded);
  if (error != cudaSuccess) return error;
  const ElementType type = targets.front().weight.type;
  const FragmentTraits traits = fragment_traits(type);
  for (const ViewTarget& target : targets) {
    batch.num_groups = 0;
    append(batch, target);
  }
  batch.x = rounded.for_type(type);
  batch.num_chunks = static_cast<std::int32_t>(traits.num_units(input.x.columns) * traits.chunks);
  return product_kernels(type).gated(stream, batch, column_tiles, kind);
}

}  // namespace

bool has_gated_products(std::int64_t x_rows, const ViewTarget& gate, const ViewTarget& up) {
  return x_rows <= kFewRows && are_alike(gate.weight, up.weight);
}

cudaError_t gated_products(cudaStream_t stream, const ProductInput& input, GateKind kind,
                           const ViewTarget& gate, const ViewTarget& up, void* scratch) {
  const ViewTarget targets[] = {gate, up};
  check_targets(input.x, targets, input.x.rows);
  TANDEM_CHECK(has_gated_products(input.x.rows, gate, up), "gate and up that one launch takes");
  if (input.x.rows == 0 || input.x.columns == 0 || gate.weight.rows == 0) return cudaSuccess;
  ProductBatch common;
  common.num_rows = static_cast<std::int32_t>(input.x.rows);
  return start_gated(stream, common, input, targets, 1, kind, scratch);
}

namespace {

// How the pairs of a call are cut into tiles.
struct PairTiles {
  std::int32_t width = 1;      // 1: unsorted
  std::int32_t max_tiles = 0;  // of a launch
};

PairTiles tiles_of_pairs(const ExpertProducts& args, ElementType type, std::int64_t num_experts) {
  PairTiles tiles;
  if (args.num_pairs <= kUnsortedPairs || num_experts > kMaxExperts) {
    tiles.max_tiles = args.num_pairs;
    return tiles;
  }
  const std::int64_t average = args.num_pairs / std::max<std::int64_t>(num_experts, 1);
  tiles.width = type == ElementType::kF32 || average < kFewRows ? kFewRows
                : average < kManyPairsFrom                      ? kSomeRows
                                                                : kManyRows;
  tiles.max_tiles =
      max_expert_tiles(args.num_pairs, static_cast<std::int32_t>(num_experts), tiles.width);
  return tiles;
}

std::int64_t groups_scratch(const ExpertProducts& args) {
  // The narrowest tiles are the most.
  std::int32_t most = 0;
  for (const ViewTarget& target : args.targets) {
    most = std::max(
        most, max_expert_tiles(args.num_pairs, static_cast<std::int32_t>(target.weight.num_experts),
                               kFewRows));
  }
  return align_up(expert_groups_bytes(args.num_pairs, most), kAlignment);
}

}  // namespace

std::int64_t expert_products_scratch_bytes(const ExpertProducts& args) {
  return rounded_scratch({args.x}, args.targets) + groups_scratch(args);
}

cudaError_t expert_products(cudaStream_t stream, const ExpertProducts& args, void* scratch) {
  check_targets(args.x, args.targets, args.num_pairs);
  if (args.num_pairs == 0 || args.x.columns == 0 || args.targets.empty()) return cudaSuccess;
  RoundedForms rounded;
  const cudaError_t rounding = round_for(stream, {args.x}, args.targets, scratch, rounded);
  if (rounding != cudaSuccess) return rounding;
  const std::int64_t num_experts = args.targets.front().weight.num_experts;
  for (const ViewTarget& target : args.targets) {
    TANDEM_CHECK(target.weight.num_experts == num_experts, "the targets have the same experts");
  }
  ProductBatch common;
  common.expert_ids = args.expert_ids;
  common.first_expert = args.first_expert;
  common.num_experts = static_cast<std::int32_t>(num_experts);
  common.x_divisor = args.x_divisor;
  std::int32_t sorted_width = 0;  // what the tiles in scratch are
  const auto start = [&](ElementType type, ProductBatch batch) {
    const PairTiles tiles = tiles_of_pairs(args, type, num_experts);
    if (tiles.width > 1) {
      const ExpertGroups groups = expert_groups_at(args.num_pairs, tiles.max_tiles, rounded.end);
      if (sorted_width != tiles.width) {
        const cudaError_t error =
            group_experts(stream, args.expert_ids, args.num_pairs, args.first_expert,
                          batch.num_experts, tiles.width, groups);
        if (error != cudaSuccess) return error;
        sorted_width = tiles.width;
      }
      batch.tiles = groups.tiles;
      batch.num_tiles = groups.num_tiles;
      batch.order = groups.order;
    }
    if (type == ElementType::kF32) return float_product(stream, batch, args.x, tiles.max_tiles);
    const ProductKernels kernels = product_kernels(type);
    if (tiles.width <= kFewRows) return kernels.few(stream, batch, tiles.max_tiles);
    if (tiles.width == kSomeRows) return kernels.some(stream, batch, tiles.max_tiles);
    return kernels.many(stream, batch, tiles.max_tiles);
  };
  return for_batches(common, args.x, args.targets, rounded, start);
}

bool has_gated_expert_products(const ExpertProducts& args) {
  return args.num_pairs <= kUnsortedPairs && args.targets.size() == 2 &&
         are_alike(args.targets[0].weight, args.targets[1].weight);
}

cudaError_t gated_expert_products(cudaStream_t stream, const ExpertProducts& args, GateKind kind,
                                  void* scratch) {
  check_targets(args.x, args.targets, args.num_pairs);
  TANDEM_CHECK(has_gated_expert_products(args), "gate and up that one launch takes");
  const WeightView& weight = args.targets.front().weight;
  if (args.num_pairs == 0 || args.x.columns == 0 || weight.rows == 0) return cudaSuccess;
  ProductBatch common;
  common.expert_ids = args.expert_ids;
  common.first_expert = args.first_expert;
  common.num_experts = static_cast<std::int32_t>(weight.num_experts);
  common.x_divisor = args.x_divisor;
  return start_gated(stream, common, {args.x}, args.targets, args.num_pairs, kind, scratch);
}

}  // namespace tandem::cuda
