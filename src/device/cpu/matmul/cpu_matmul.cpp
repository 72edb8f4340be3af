#include "device/cpu/matmul/cpu_matmul.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "device/cpu/huge_page_allocator.h"
#include "device/cpu/matmul/cpu_weight.h"
#include "device/cpu/matmul/few_rows.h"
#include "device/cpu/matmul/file_rows.h"
#include "device/cpu/matmul/matmul_kernels.h"
#include "device/cpu/matmul/prepared_rows.h"

namespace tandem {
namespace {

// A pass takes up to kPassRows rows of x and kPassPanels panels of weights (512 x 128). Per chunk
// of columns it reads 256 KiB of rounded rows, which stay in the L2 cache for all its panels,
// beside its sums of 256 KiB. (256 x 256 and 512 x 256 came out the same within the noise.)
constexpr std::int64_t kPassRows = 512;
constexpr std::int64_t kPassPanels = 2;
constexpr std::int64_t kPanelSums = kPassRows * kPanelRows;
// How the rows of x are given to the kernels of a weight.
enum class Form : std::uint8_t { kRounded, kFloats, kBf16 };

// One weight matrix times some rows of x.
struct Product {
  const CpuWeight* weight = nullptr;
  const std::byte* groups = nullptr;  // the expert's
  const float* bias = nullptr;
  Form form = Form::kFloats;
  std::int64_t first_row = 0;  // in the lists below, of the product's num_rows rows
  std::int64_t num_rows = 0;
  int starts_index = 0;  // kRounded: of PreparedRows

  std::int64_t num_panels() const {
    return num_rows == 0 ? 0 : ceil_div<std::int64_t>(weight->rows(), kPanelRows);
  }
  int groups_of(std::int64_t panel) const {
    const std::int64_t all = ceil_div<std::int64_t>(weight->rows(), kGroupRows);
    return static_cast<int>(std::min<std::int64_t>(kPanelGroups, all - panel * kPanelGroups));
  }
};

struct alignas(64) ThreadScratch {
  std::array<PanelChunk, kPanelGroups> panel;
  std::vector<float, HugePageAllocator<float>> sums;  // [kPassPanels][kPassRows][kPanelRows]
  std::vector<RoundedRow> rows;                       // of the product at hand
  std::vector<const float*> x;
  std::vector<float> file_row;
};

}  // namespace

struct CpuMatmul::State {
  ThreadPool& pool;
  Arithmetic arithmetic;
  const RoundedKernels& rounded;
  FloatKernel float_tile;
  FloatKernel bf16_tile;

  PreparedRows prepared;
  std::vector<Product> products;
  std::vector<std::int64_t> x_rows;  // by place in the lists: which row of x, where the row of y is
  std::vector<float*> y_rows;
  std::vector<ThreadScratch> scratch;

  State(ThreadPool& p, Arithmetic a, InstructionSet set)
      : pool(p),
        arithmetic(a),
        rounded(rounded_kernels(set)),
        float_tile(float_kernel(set)),
        bf16_tile(bf16_kernel(set)),
        prepared(p, rounded),
        scratch(static_cast<std::size_t>(p.size())) {}

  void begin(MatrixView x);
  void add_product(const Weight* weight, std::int64_t expert, const float* bias,
                   std::int64_t first_row, std::int64_t num_rows);
  void run();

 private:
  Form form_of(const CpuWeight& weight) const;
  // Panels [first, last) of one product, at most panels_at_once().
  struct Panels {
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  bool has_few_rows(const Product& product) const;
  std::int64_t panels_at_once(const Product& product) const;
  void compute_panels(const Product& product, Panels panels, ThreadScratch& mine);
  void list_rows(const Product& product, std::int64_t begin, std::int64_t count,
                 ThreadScratch& mine);
  void few_rows(const Product& product, Panels panels, ThreadScratch& mine);
  void rounded_pass(const Product& product, Panels panels, std::int64_t count, ThreadScratch& mine);
  void float_pass(const Product& product, std::int64_t panel, std::int64_t count, float* sums,
                  ThreadScratch& mine);
  void store(const Product& product, std::int64_t panel, std::int64_t begin, std::int64_t count,
             const float* sums);
  void file_rows(const Product& product, std::int64_t panel, ThreadScratch& mine);
};

void CpuMatmul::State::begin(MatrixView x) {
  prepared.reset(x);
  products.clear();
  x_rows.clear();
  y_rows.clear();
}

Form CpuMatmul::State::form_of(const CpuWeight& weight) const {
  if (traits_of(weight.type()).is_quantised) return Form::kRounded;
  return weight.type() == ElementType::kBF16 && bf16_tile != nullptr ? Form::kBf16 : Form::kFloats;
}

void CpuMatmul::State::add_product(const Weight* weight, std::int64_t expert, const float* bias,
                                   std::int64_t first_row, std::int64_t num_rows) {
  Product product;
  product.weight = static_cast<const CpuWeight*>(weight);
  product.groups = product.weight->expert(expert);
  product.bias = bias;
  product.first_row = first_row;
  product.num_rows = num_rows;
  const bool file_rows = product.weight->layout() == WeightLayout::kFileRows;
  TANDEM_CHECK(file_rows == (arithmetic == Arithmetic::kFloat),
               "a weight is loaded for the arithmetic that uses it");
  if (!file_rows && num_rows > 0) {
    product.form = form_of(*product.weight);
    if (product.form == Form::kRounded) {
      product.starts_index = prepared.round_for(packed_traits(product.weight->type()));
    } else if (product.form == Form::kBf16) {
      prepared.convert_to_bf16();
    }
  }
  products.push_back(product);
}

// Threads take runs of panels from one counter: a core that is disturbed takes fewer. One thread
// takes all: what it reads is then interrupted least.
void CpuMatmul::State::run() {
  std::int64_t total = 0;
  for (const Product& product : products) total += product.num_panels();
  if (total == 0) return;
  const std::int64_t num_runs = pool.size() == 1 ? 1 : pool.size() * 8;
  const std::int64_t run_length = std::max<std::int64_t>(1, total / num_runs);
  std::atomic<std::int64_t> next{0};
  pool.parallel([&](int thread) {
    ThreadScratch& mine = scratch[static_cast<std::size_t>(thread)];
    for (std::int64_t begin; (begin = next.fetch_add(run_length)) < total;) {
      std::int64_t left = std::min(run_length, total - begin);
      for (const Product& product : products) {
        const std::int64_t panels = product.num_panels();
        const std::int64_t last = std::min(panels, begin + left);
        const std::int64_t at_once = panels_at_once(product);
        for (std::int64_t first = begin; first < last; first += at_once) {
          compute_panels(product, {first, std::min(first + at_once, last)}, mine);
        }
        left -= std::max<std::int64_t>(0, last - begin);
        if (left == 0) break;
        begin = std::max<std::int64_t>(0, begin - panels);
      }
    }
  });
}

bool CpuMatmul::State::has_few_rows(const Product& product) const {
  if (product.weight->layout() == WeightLayout::kFileRows) return false;
  if (product.form != Form::kRounded) return product.num_rows <= kFewFloatRows;
  return product.num_rows <= kFewRoundedRows && rounded.decode != nullptr;
}

// So many that their sums fit into a thread's scratch.
std::int64_t CpuMatmul::State::panels_at_once(const Product& product) const {
  if (!has_few_rows(product)) return kPassPanels;
  return kPassPanels * kPassRows / std::max<std::int64_t>(1, product.num_rows);
}

void CpuMatmul::State::compute_panels(const Product& product, Panels panels, ThreadScratch& mine) {
  if (product.weight->layout() == WeightLayout::kFileRows) {
    for (std::int64_t p = panels.first; p < panels.last; ++p) file_rows(product, p, mine);
    return;
  }
  if (mine.sums.empty()) mine.sums.resize(kPassPanels * kPanelSums);
  if (has_few_rows(product)) return few_rows(product, panels, mine);
  for (std::int64_t begin = 0; begin < product.num_rows; begin += kPassRows) {
    const std::int64_t count = std::min(kPassRows, product.num_rows - begin);
    list_rows(product, begin, count, mine);
    if (product.form == Form::kRounded) rounded_pass(product, panels, count, mine);
    float* sums = mine.sums.data();
    for (std::int64_t p = panels.first; p < panels.last; ++p, sums += kPanelSums) {
      if (product.form != Form::kRounded) float_pass(product, p, count, sums, mine);
      store(product, p, begin, count, sums);
    }
  }
}

// Lists rows [begin, begin + count) of the product's x as its kernels take them.
void CpuMatmul::State::list_rows(const Product& product, std::int64_t begin, std::int64_t count,
                                 ThreadScratch& mine) {
  mine.rows.clear();
  mine.x.clear();
  for (std::int64_t i = begin; i < begin + count; ++i) {
    const std::int64_t row = x_rows[static_cast<std::size_t>(product.first_row + i)];
    if (product.form == Form::kRounded) {
      mine.rows.push_back(prepared.rounded_row(product.starts_index, row));
    } else if (product.form == Form::kBf16) {
      mine.x.push_back(reinterpret_cast<const float*>(prepared.bf16_row(row)));
    } else {
      mine.x.push_back(prepared.x().row(row));
    }
  }
}

void CpuMatmul::State::few_rows(const Product& product, Panels panels, ThreadScratch& mine) {
  const CpuWeight& weight = *product.weight;
  list_rows(product, 0, product.num_rows, mine);
  GroupRange range{weight.type(), weight.columns()};
  const std::int64_t panel_bytes =
      kPanelGroups * packed_group_bytes(weight.type(), weight.columns());
  range.groups = product.groups + panels.first * panel_bytes;
  range.num_groups =
      (panels.last - panels.first - 1) * kPanelGroups + product.groups_of(panels.last - 1);
  float* sums = mine.sums.data();
  if (product.form == Form::kRounded) {
    multiply_few_rows(rounded, range, mine.rows, sums);
  } else {
    multiply_few_rows(product.form == Form::kBf16 ? bf16_tile : float_tile, range, mine.x, sums);
  }
  for (std::int64_t p = panels.first; p < panels.last; ++p) {
    store(product, p, 0, product.num_rows, sums);
    sums += product.num_rows * kPanelRows;
  }
}

void CpuMatmul::State::rounded_pass(const Product& product, Panels panels, std::int64_t count,
                                    ThreadScratch& mine) {
  const CpuWeight& weight = *product.weight;
  const std::int64_t group_bytes = packed_group_bytes(weight.type(), weight.columns());
  RoundedKernels::Tile tile;
  tile.traits = packed_traits(weight.type());
  tile.panel = mine.panel.data();
  tile.x = mine.rows.data();
  tile.num_rows = count;
  for (std::int64_t i = 0; i < panels.last - panels.first; ++i) {
    std::fill_n(mine.sums.data() + i * kPanelSums, count * kPanelRows, 0.0f);
  }
  for (std::int64_t chunk = 0; chunk < prepared.num_chunks(); ++chunk) {
    tile.num_blocks = blocks_in_chunk(weight.columns(), chunk);
    tile.chunk_index = chunk;
    tile.sums = mine.sums.data();
    for (std::int64_t p = panels.first; p < panels.last; ++p, tile.sums += kPanelSums) {
      tile.num_groups = product.groups_of(p);
      const std::byte* at =
          product.groups + p * kPanelGroups * group_bytes + chunk * chunk_bytes(tile.traits, 8);
      for (int g = 0; g < tile.num_groups; ++g) {
        rounded.unpack(weight.type(), at + g * group_bytes, tile.num_blocks,
                       mine.panel[static_cast<std::size_t>(g)]);
      }
      const bool last_panel = p + 1 == panels.last;
      tile.next = last_panel ? product.groups + panels.first * kPanelGroups * group_bytes +
                                   (chunk + 1) * chunk_bytes(tile.traits, 8)
                             : at + kPanelGroups * group_bytes;
      tile.next_bytes = chunk_bytes(tile.traits, 8);
      tile.next_stride = group_bytes;
      rounded.tile(tile);
    }
  }
}

void CpuMatmul::State::float_pass(const Product& product, std::int64_t panel, std::int64_t count,
                                  float* sums, ThreadScratch& mine) {
  const CpuWeight& weight = *product.weight;
  std::fill_n(sums, count * kPanelRows, 0.0f);
  FloatTile tile;
  tile.type = weight.type();
  tile.group_bytes = packed_group_bytes(weight.type(), weight.columns());
  tile.groups = product.groups + panel * kPanelGroups * tile.group_bytes;
  tile.num_groups = product.groups_of(panel);
  tile.x = mine.x.data();
  tile.num_rows = count;
  tile.sums = sums;
  // Columns in pieces whose weights (128 to 256 KiB) stay in the L2 cache for all rows of x.
  constexpr std::int64_t kPieceColumns = 1024;
  for (tile.begin = 0; tile.begin < weight.columns(); tile.begin = tile.end) {
    tile.end = std::min(tile.begin + kPieceColumns, weight.columns());
    product.form == Form::kBf16 ? bf16_tile(tile) : float_tile(tile);
  }
}

void CpuMatmul::State::store(const Product& product, std::int64_t panel, std::int64_t begin,
                             std::int64_t count, const float* sums) {
  const std::int64_t first = panel * kPanelRows;
  const std::int64_t num_rows = std::min<std::int64_t>(kPanelRows, product.weight->rows() - first);
  for (std::int64_t i = 0; i < count; ++i) {
    float* y = y_rows[static_cast<std::size_t>(product.first_row + begin + i)] + first;
    const float* row = sums + i * kPanelRows;
    if (product.bias == nullptr) {
      std::memcpy(y, row, static_cast<std::size_t>(num_rows) * sizeof(float));
    } else {
      for (std::int64_t j = 0; j < num_rows; ++j) y[j] = row[j] + product.bias[first + j];
    }
  }
}

void CpuMatmul::State::file_rows(const Product& product, std::int64_t panel, ThreadScratch& mine) {
  const CpuWeight& weight = *product.weight;
  const MatrixView& x = prepared.x();
  mine.file_row.resize(static_cast<std::size_t>(x.columns));
  const std::int64_t begin = panel * kPanelRows;
  const std::int64_t end = std::min<std::int64_t>(begin + kPanelRows, weight.rows());
  for (std::int64_t row = begin; row < end; ++row) {
    dequantise_row(weight.type(), product.groups, row, mine.file_row);
    const float bias = product.bias == nullptr ? 0.0f : product.bias[row];
    for (std::int64_t i = product.first_row; i < product.first_row + product.num_rows; ++i) {
      const float* x_row = x.row(x_rows[static_cast<std::size_t>(i)]);
      y_rows[static_cast<std::size_t>(i)][row] =
          static_cast<float>(dot(x_row, mine.file_row.data(), x.columns)) + bias;
    }
  }
}

CpuMatmul::CpuMatmul(ThreadPool& pool, Arithmetic arithmetic, InstructionSet set)
    : state_(std::make_unique<State>(pool, arithmetic, set)) {}

CpuMatmul::~CpuMatmul() = default;

void CpuMatmul::matmul(MatrixView x, std::span<const MatmulTarget> targets) {
  if (x.rows == 0) return;
  state_->begin(x);
  for (const MatmulTarget& target : targets) {
    TANDEM_CHECK(target.weight->columns() == x.columns && target.y.rows == x.rows &&
                     target.y.columns == target.weight->rows(),
                 "matmul: shapes do not agree");
    const auto first = static_cast<std::int64_t>(state_->x_rows.size());
    for (std::int64_t row = 0; row < x.rows; ++row) {
      state_->x_rows.push_back(row);
      state_->y_rows.push_back(target.y.row(row));
    }
    state_->add_product(target.weight, 0, target.bias, first, x.rows);
  }
  state_->run();
}

void CpuMatmul::expert_matmul(const ExpertMatmulArgs& args) {
  const std::int64_t num_choices = std::int64_t{args.num_tokens} * args.top_k;
  if (num_choices == 0) return;
  const bool row_a_token = args.x.rows == args.num_tokens;
  TANDEM_CHECK(row_a_token || args.x.rows == num_choices, "expert_matmul: rows of x");
  state_->begin(args.x);
  for (const ExpertMatmulTarget& target : args.targets) {
    const std::int64_t num_experts = target.experts->num_experts();
    TANDEM_CHECK(target.experts->columns() == args.x.columns && target.y.rows == num_choices &&
                     target.y.columns == target.experts->rows(),
                 "expert_matmul: shapes do not agree");
    for (std::int64_t expert = 0; expert < num_experts; ++expert) {
      const auto first = static_cast<std::int64_t>(state_->x_rows.size());
      for (std::int64_t choice = 0; choice < num_choices; ++choice) {
        if (args.expert_ids[choice] - args.first_expert != expert) continue;
        state_->x_rows.push_back(row_a_token ? choice / args.top_k : choice);
        state_->y_rows.push_back(target.y.row(choice));
      }
      const auto count = static_cast<std::int64_t>(state_->x_rows.size()) - first;
      if (count > 0) state_->add_product(target.experts, expert, nullptr, first, count);
    }
    for (std::int64_t choice = 0; choice < num_choices; ++choice) {
      const std::int64_t expert = std::int64_t{args.expert_ids[choice]} - args.first_expert;
      if (expert >= 0 && expert < num_experts) continue;
      std::fill_n(target.y.row(choice), target.y.columns, 0.0f);
    }
  }
  state_->run();
}

}  // namespace tandem
