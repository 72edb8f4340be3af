#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/ops/cpu_ops.h"

namespace tandem::cpu_ops {
namespace {

// Multiply-adds that take about as long as waking the other threads.
constexpr std::int64_t kSerialMultiplyAdds = 64 * 1024;

// How many pieces of work ahead memory is asked for: a tile of 16 KiB takes longer to come than to
// be computed with.
constexpr std::int64_t kPiecesAhead = 4;

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

// Asks for the first tile of K and V, to the L2 cache: the kernels ask for each further one while
// they are at the one before it. Inline, because GCC 12 drops calls of what does nothing else.
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

// One call of the op.
class AttentionRun {
 public:
  AttentionRun(CpuContext& context, const AttentionArgs& args)
      : context_(context), args_(args), work_(context.attention_work) {
    list_work(args, work_);
    for (const AttentionWork& work : work_) total_ += multiply_adds(work);
    part_floats_ = AttentionPart::floats(kAttentionRows, args.kv.head_dim);
    thread_floats_ = AttentionScratch::floats(args.kv.head_dim) + 2 * part_floats_;
  }

  void run() {
    // Where there are too few pieces to keep the threads busy, and each has one query (so that
    // unfinished sums stay small), the splits of each are shared out too.
    const auto threads = static_cast<std::int64_t>(context_.pool.size());
    const auto pieces = static_cast<std::int64_t>(work_.size());
    const bool one_query = std::all_of(work_.begin(), work_.end(),
                                       [](const auto& work) { return work.num_queries == 1; });
    serial_ = threads == 1 || total_ <= kSerialMultiplyAdds;
    if (!serial_ && one_query && pieces < 4 * threads) {
      run_splits();
    } else {
      allocate(0);
      for (std::int64_t i = 0; one_query && i < std::min(pieces, kPiecesAhead); ++i) {
        prefetch_first_tile(work_[static_cast<std::size_t>(i)]);
      }
      for_each_dynamic(context_, pieces, serial_, [&](int thread, std::int64_t i) {
        if (one_query && i + kPiecesAhead < pieces) {
          prefetch_first_tile(work_[static_cast<std::size_t>(i + kPiecesAhead)]);
        }
        run_whole(thread, work_[static_cast<std::size_t>(i)]);
      });
    }
  }

 private:
  // Scratch of every thread, then `num_parts` unfinished sums.
  void allocate(std::int64_t num_parts) {
    const std::int64_t threads = serial_ ? 1 : context_.pool.size();
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
  AttentionPart own_part(std::int64_t thread, int which, const AttentionWork& work) const {
    float* memory = thread_memory(thread) + AttentionScratch::floats(work.head_dim);
    return AttentionPart::at(memory + which * part_floats_, work.rows(), work.head_dim);
  }
  AttentionPart shared_part(std::int64_t index, const AttentionWork& work) const {
    return AttentionPart::at(parts_ + index * part_floats_, work.rows(), work.head_dim);
  }
  // Where the results of `work` go: as q, but in out.
  void finish(const AttentionWork& work, const AttentionPart& total) const {
    const std::int64_t offset = work.q - args_.q.data;
    const std::int64_t row = offset / args_.q.row_stride;
    context_.kernels.finish_attention(work, total, args_.out.row(row) + offset % args_.q.row_stride,
                                      args_.out.row_stride);
  }

  void run_whole(int thread, const AttentionWork& work) const {
    const Splits splits = splits_of(work);
    const AttentionPart part = own_part(thread, 0, work);
    const AttentionPart total = own_part(thread, 1, work);
    clear(work, total);
    for (int i = 0; i < splits.count; ++i) {
      context_.kernels.attend_split(work, splits.first + i, scratch(thread), part);
      context_.kernels.merge_part(work.rows(), work.head_dim, part, total);
    }
    finish(work, total);
  }

  void run_splits() {
    int most_splits = 0;
    for (const AttentionWork& work : work_) {
      most_splits = std::max(most_splits, splits_of(work).count);
    }
    const auto pieces = static_cast<std::int64_t>(work_.size());
    allocate(pieces * most_splits);
    for_each_dynamic(context_, pieces * most_splits, false, [&](int thread, std::int64_t i) {
      const AttentionWork& work = work_[static_cast<std::size_t>(i / most_splits)];
      const Splits splits = splits_of(work);
      const auto split = static_cast<int>(i % most_splits);
      if (split >= splits.count) return;
      context_.kernels.attend_split(work, splits.first + split, scratch(thread),
                                    shared_part(i, work));
    });
    for_each_dynamic(context_, pieces, most_splits < 16, [&](int thread, std::int64_t i) {
      const AttentionWork& work = work_[static_cast<std::size_t>(i)];
      const AttentionPart total = own_part(thread, 1, work);
      clear(work, total);
      for (int split = 0; split < splits_of(work).count; ++split) {
        context_.kernels.merge_part(work.rows(), work.head_dim,
                                    shared_part(i * most_splits + split, work), total);
      }
      finish(work, total);
    });
  }

  CpuContext& context_;
  const AttentionArgs& args_;
  std::vector<AttentionWork>& work_;
  std::int64_t total_ = 0;  // multiply-adds
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
