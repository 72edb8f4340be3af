#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {
namespace {

// Multiply-adds that take about as long as waking the other threads.
constexpr std::int64_t kSerialMultiplyAdds = 64 * 1024;

// Of how many works the first tiles are asked for before they are computed: a tile of 16 KiB takes
// longer to come than to be computed with. The kernels ask for further ones.
constexpr std::size_t kWorksAhead = 4;

void check_shapes(const AttentionArgs& args) {
  const KvView& kv = args.kv;
  TANDEM_CHECK(args.q.columns == static_cast<std::int64_t>(args.num_q_heads) * kv.head_dim,
               "q holds num_q_heads heads");
  TANDEM_CHECK(args.out.rows == args.q.rows && args.out.columns == args.q.columns,
               "q and out have one shape");
  TANDEM_CHECK(kv.type == ElementType::kF16 || kv.type == ElementType::kF32 ||
                   (kv.type == ElementType::kQ8_0 && kv.head_dim % 32 == 0),
               "a type that the cache may have");
  TANDEM_CHECK(args.q_heads_per_kv_head > 0 && kv.block_tokens > 0 && args.window >= 0, "shapes");
  TANDEM_CHECK(
      (args.num_q_heads - 1 + args.q_head_offset) / args.q_heads_per_kv_head < kv.num_kv_heads,
      "every query head has its KV head");
}

void check_sequence(const AttentionArgs& args, const SequenceSlice& sequence) {
  TANDEM_CHECK(sequence.first_token >= 0 && sequence.num_tokens >= 0 &&
                   sequence.first_token + sequence.num_tokens <= args.q.rows,
               "a sequence's tokens are rows of q");
  TANDEM_CHECK(sequence.context_tokens >= sequence.num_tokens, "the context holds the tokens");
  const auto blocks = ceil_div(sequence.context_tokens, args.kv.block_tokens);
  TANDEM_CHECK(static_cast<std::int64_t>(sequence.block_table.size()) >= blocks,
               "the block table covers the context");
  for (std::int32_t i = 0; i < blocks; ++i) {
    const std::int32_t block = sequence.block_table[static_cast<std::size_t>(i)];
    TANDEM_CHECK(block >= 0 && block < args.kv.num_blocks, "a block of the cache");
  }
}

// The work of query heads [begin, end), which read one KV head, and some queries of a sequence.
AttentionWork work_of(const AttentionArgs& args, const SequenceSlice& sequence, std::int32_t begin,
                      std::int32_t end, std::int32_t first_query, std::int32_t num_queries) {
  const KvView& kv = args.kv;
  const std::int64_t row_bytes = *bytes_of(kv.type, kv.head_dim);
  const std::int32_t kv_head = (begin + args.q_head_offset) / args.q_heads_per_kv_head;
  const std::int64_t head_offset = row_bytes * kv.block_tokens * kv_head;
  AttentionWork work;
  work.q = args.q.row(sequence.first_token + first_query) +
           static_cast<std::int64_t>(begin) * kv.head_dim;
  work.q_stride = args.q.row_stride;
  work.num_queries = num_queries;
  work.num_heads = end - begin;
  work.first_position = sequence.context_tokens - sequence.num_tokens + first_query;
  work.head_dim = kv.head_dim;
  work.scale = args.scale;
  work.soft_cap = args.soft_cap;
  work.window = args.window;
  work.type = kv.type;
  work.k = static_cast<const std::byte*>(kv.k) + head_offset;
  work.v = static_cast<const std::byte*>(kv.v) + head_offset;
  work.row_bytes = row_bytes;
  work.block_bytes = row_bytes * kv.block_tokens * kv.num_kv_heads;
  work.block_tokens = kv.block_tokens;
  work.by_columns = keys_by_columns(kv.type, kv.block_tokens);
  work.block_table = sequence.block_table.data();
  return work;
}

// How many heads of one KV head work together, and how many queries make a tile with them.
std::int32_t group_heads(const AttentionArgs& args) {
  return std::min<std::int32_t>(args.q_heads_per_kv_head, kAttentionRows);
}
std::int32_t tile_queries(const AttentionArgs& args) {
  return kAttentionRows / group_heads(args);
}

// Appends the work of a sequence's `tile`-th tile of queries, if it has one, for each group of
// heads.
void append_tile(const AttentionArgs& args, const SequenceSlice& sequence, std::int32_t tile,
                 std::vector<AttentionWork>& all) {
  const std::int32_t first = tile * tile_queries(args);
  if (first >= sequence.num_tokens) return;
  const std::int32_t count = std::min(tile_queries(args), sequence.num_tokens - first);
  for (std::int32_t head = 0; head < args.num_q_heads;) {
    const std::int32_t place = (head + args.q_head_offset) % args.q_heads_per_kv_head;
    const std::int32_t end = std::min(
        {head + args.q_heads_per_kv_head - place, head + group_heads(args), args.num_q_heads});
    all.push_back(work_of(args, sequence, head, end, first, count));
    head = end;
  }
}

// Late tiles first: they see most and take longest, and short ones fill the end.
void list_work(const AttentionArgs& args, std::vector<AttentionWork>& all) {
  all.clear();
  std::int32_t most_tokens = 0;
  for (const SequenceSlice& sequence : args.sequences) {
    check_sequence(args, sequence);
    most_tokens = std::max(most_tokens, sequence.num_tokens);
  }
  for (std::int32_t tile = ceil_div(most_tokens, tile_queries(args)) - 1; tile >= 0; --tile) {
    for (const SequenceSlice& sequence : args.sequences) append_tile(args, sequence, tile, all);
  }
}

// Whether two works are of the same queries, so that they can go through their tiles together.
bool have_same_queries(const AttentionWork& a, const AttentionWork& b) {
  return a.block_table == b.block_table && a.first_position == b.first_position &&
         a.num_queries == b.num_queries;
}

// Bundles of up to `most` works of the same queries that follow each other.
void bundle_works(std::span<const AttentionWork> works, std::size_t most,
                  std::vector<std::span<const AttentionWork>>& bundles) {
  bundles.clear();
  for (std::size_t begin = 0; begin < works.size();) {
    std::size_t end = begin + 1;
    int rows = works[begin].rows();
    while (end < works.size() && end - begin < most &&
           have_same_queries(works[begin], works[end]) &&
           rows + works[end].rows() <= kAttentionRows) {
      rows += works[end++].rows();
    }
    bundles.push_back(works.subspan(begin, end - begin));
    begin = end;
  }
}

struct Splits {
  int first = 0;
  int count = 0;
};

Splits splits_of(const AttentionWork& work) {
  const int first = work.begin_position() / kAttentionSplit;
  return {first, (work.end_position() - 1) / kAttentionSplit - first + 1};
}

std::int64_t multiply_adds(const AttentionWork& work) {
  return static_cast<std::int64_t>(work.end_position() - work.begin_position()) * work.rows() * 2 *
         work.head_dim;
}

void clear(const AttentionWork& work, const AttentionPart& part) {
  const auto floats = AttentionPart::floats(work.rows(), work.head_dim);
  std::memset(part.largest, 0, static_cast<std::size_t>(floats) * sizeof(float));
  std::fill_n(part.largest, work.rows(), kNoScore);
}

// Asks for the first tile of K and V, to the L2 cache. Inline, because GCC 12 drops calls of what
// does nothing else.
[[gnu::always_inline]] inline void prefetch_first_tile(const AttentionWork& work) {
  const int begin = work.begin_position() / work.block_tokens;
  const int last = std::min(work.end_position(), work.begin_position() + kAttentionTile) - 1;
  const std::int64_t bytes = work.row_bytes * work.block_tokens;
  for (int block = begin; block <= last / work.block_tokens; ++block) {
    const std::int64_t at = work.block_table[block] * work.block_bytes;
    for (std::int64_t line = 0; line < bytes; line += 64) {
      __builtin_prefetch(work.k + at + line, 0, 2);
      __builtin_prefetch(work.v + at + line, 0, 2);
    }
  }
}

// Runs body(thread, i) for i in [0, count) in order of i, each on the next thread that is free.
template <typename F>
void for_each_dynamic(CpuContext& context, std::int64_t count, bool serial, F&& body) {
  if (serial || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(0, i);
    return;
  }
  std::atomic<std::int64_t> next{0};
  context.pool.parallel([&](int thread) {
    for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      body(thread, i);
    }
  });
}

// Unfinished sums of a bundle's works, one behind the other.
class BundleParts {
 public:
  // Floats that any bundle needs at most.
  static std::int64_t floats(int head_dim) {
    return kAttentionRows * AttentionPart::floats(1, head_dim);
  }
  BundleParts(float* memory, std::span<const AttentionWork> works) : count_(works.size()) {
    for (std::size_t i = 0; i < count_; ++i) {
      parts_[i] = AttentionPart::at(memory, works[i].rows(), works[i].head_dim);
      memory += AttentionPart::floats(works[i].rows(), works[i].head_dim);
    }
  }
  std::span<const AttentionPart> all() const { return {parts_.data(), count_}; }
  const AttentionPart& operator[](std::size_t i) const { return parts_[i]; }

 private:
  std::array<AttentionPart, kAttentionRows> parts_;
  std::size_t count_;
};

// One call of the op.
class AttentionRun {
 public:
  AttentionRun(CpuContext& context, const AttentionArgs& args)
      : context_(context),
        args_(args),
        work_(context.attention_work),
        bundles_(context.attention_bundles) {
    list_work(args, work_);
    std::int64_t total = 0;  // multiply-adds
    for (const AttentionWork& work : work_) {
      total += multiply_adds(work);
      most_splits_ = std::max(most_splits_, splits_of(work).count);
      one_query_ = one_query_ && work.num_queries == 1;
    }
    threads_ = context.pool.size();
    serial_ = threads_ == 1 || total <= kSerialMultiplyAdds;
    bundle_works(work_, most_in_bundle(), bundles_);
    part_floats_ = BundleParts::floats(args.kv.head_dim);
    thread_floats_ = AttentionScratch::floats(args.kv.head_dim) + 2 * part_floats_;
  }

  void run() {
    // Where there are too few pieces to keep the threads busy, and each has one query (so that
    // unfinished sums stay small), the splits of each are shared out too.
    const auto pieces = static_cast<std::int64_t>(bundles_.size());
    if (!serial_ && one_query_ && pieces < kPiecesAThread * threads_) {
      run_splits();
    } else {
      allocate(0);
      if (one_query_) prefetch(bundles_.front());
      for_each_dynamic(context_, pieces, serial_, [&](int thread, std::int64_t i) {
        if (one_query_ && i + 1 < pieces) prefetch(bundles_[static_cast<std::size_t>(i + 1)]);
        run_whole(thread, bundles_[static_cast<std::size_t>(i)]);
      });
    }
  }

 private:
  static constexpr std::int64_t kPiecesAThread = 4;

  // Threads need some pieces each, that one which is disturbed takes fewer.
  std::size_t most_in_bundle() const {
    if (serial_) return work_.size();
    const auto pieces = static_cast<std::int64_t>(work_.size()) * (one_query_ ? most_splits_ : 1);
    return static_cast<std::size_t>(
        std::max<std::int64_t>(1, pieces / (kPiecesAThread * threads_)));
  }

  // Asks for the first tiles of a bundle.
  static void prefetch(std::span<const AttentionWork> bundle) {
    for (const AttentionWork& work : bundle.first(std::min(bundle.size(), kWorksAhead))) {
      prefetch_first_tile(work);
    }
  }

  // Scratch of every thread, then `num_parts` bundles' unfinished sums.
  void allocate(std::int64_t num_parts) {
    const std::int64_t threads = serial_ ? 1 : threads_;
    memory_ = context_.scratch_floats(threads * thread_floats_ + num_parts * part_floats_);
    parts_ = memory_ + threads * thread_floats_;
    const std::int64_t zero_floats = align_up<std::int64_t>(args_.kv.head_dim, 16);
    for (std::int64_t i = 0; i < threads; ++i) {
      float* zeros = thread_memory(i) + AttentionScratch::floats(args_.kv.head_dim) - zero_floats;
      std::fill_n(zeros, zero_floats, 0.0f);
    }
  }
  float* thread_memory(std::int64_t thread) const { return memory_ + thread * thread_floats_; }
  AttentionScratch scratch(std::int64_t thread) const {
    return AttentionScratch::at(thread_memory(thread), args_.kv.head_dim);
  }
  // The thread's own unfinished sums: 0 for a split's, 1 for the total.
  BundleParts own_parts(std::int64_t thread, int which,
                        std::span<const AttentionWork> bundle) const {
    float* memory = thread_memory(thread) + AttentionScratch::floats(args_.kv.head_dim);
    return {memory + which * part_floats_, bundle};
  }
  BundleParts shared_parts(std::int64_t index, std::span<const AttentionWork> bundle) const {
    return {parts_ + index * part_floats_, bundle};
  }
  void merge(std::span<const AttentionWork> bundle, const BundleParts& parts,
             const BundleParts& totals) const {
    for (std::size_t i = 0; i < bundle.size(); ++i) {
      context_.kernels.merge_part(bundle[i].rows(), bundle[i].head_dim, parts[i], totals[i]);
    }
  }
  // Where the results of a work go: as q, but in out.
  void finish(std::span<const AttentionWork> bundle, const BundleParts& totals) const {
    for (std::size_t i = 0; i < bundle.size(); ++i) {
      const std::int64_t offset = bundle[i].q - args_.q.data;
      float* out = args_.out.row(offset / args_.q.row_stride) + offset % args_.q.row_stride;
      context_.kernels.finish_attention(bundle[i], totals[i], out, args_.out.row_stride);
    }
  }
  BundleParts cleared_totals(int thread, std::span<const AttentionWork> bundle) const {
    const BundleParts totals = own_parts(thread, 1, bundle);
    for (std::size_t i = 0; i < bundle.size(); ++i) clear(bundle[i], totals[i]);
    return totals;
  }

  void run_whole(int thread, std::span<const AttentionWork> bundle) const {
    const Splits splits = splits_of(bundle.front());
    const BundleParts parts = own_parts(thread, 0, bundle);
    const BundleParts totals = cleared_totals(thread, bundle);
    for (int i = 0; i < splits.count; ++i) {
      context_.kernels.attend_split(bundle, splits.first + i, scratch(thread), parts.all());
      merge(bundle, parts, totals);
    }
    finish(bundle, totals);
  }

  void run_splits() {
    const auto pieces = static_cast<std::int64_t>(bundles_.size());
    allocate(pieces * most_splits_);
    for_each_dynamic(context_, pieces * most_splits_, false, [&](int thread, std::int64_t i) {
      const auto bundle = bundles_[static_cast<std::size_t>(i / most_splits_)];
      const Splits splits = splits_of(bundle.front());
      const auto split = static_cast<int>(i % most_splits_);
      if (split >= splits.count) return;
      context_.kernels.attend_split(bundle, splits.first + split, scratch(thread),
                                    shared_parts(i, bundle).all());
    });
    for_each_dynamic(context_, pieces, most_splits_ < 16, [&](int thread, std::int64_t i) {
      const auto bundle = bundles_[static_cast<std::size_t>(i)];
      const BundleParts totals = cleared_totals(thread, bundle);
      for (int split = 0; split < splits_of(bundle.front()).count; ++split) {
        merge(bundle, shared_parts(i * most_splits_ + split, bundle), totals);
      }
      finish(bundle, totals);
    });
  }

  CpuContext& context_;
  const AttentionArgs& args_;
  std::vector<AttentionWork>& work_;
  std::vector<std::span<const AttentionWork>>& bundles_;
  std::int64_t threads_ = 1;
  int most_splits_ = 0;
  bool one_query_ = true;
  bool serial_ = false;
  std::int64_t part_floats_ = 0;
  std::int64_t thread_floats_ = 0;
  float* memory_ = nullptr;
  float* parts_ = nullptr;
};

}  // namespace

void attention(CpuContext& context, const AttentionArgs& args) {
  if (args.q.rows == 0 || args.num_q_heads == 0 || args.sequences.empty()) return;
  check_shapes(args);
  AttentionRun(context, args).run();
}

}  // namespace tandem::cpu_ops
