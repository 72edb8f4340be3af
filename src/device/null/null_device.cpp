#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "base/clock.h"
#include "base/units.h"
#include "device/cpu/host_memory.h"
#include "device/device.h"

namespace tandem {
namespace {

// What is allocated on one null device; outlives it where a buffer does.
using Usage = std::shared_ptr<std::atomic<std::int64_t>>;

// Real memory, so that collectives and copies have something to read; resident only where written.
class NullBuffer : public Buffer {
 public:
  NullBuffer(HostMemory memory, Usage used) : memory_(std::move(memory)), used_(std::move(used)) {}
  ~NullBuffer() override { *used_ -= memory_.size_bytes(); }
  void* data() override { return memory_.data(); }
  std::int64_t size_bytes() const override { return memory_.size_bytes(); }

 private:
  HostMemory memory_;
  Usage used_;
};

class NullWeight : public Weight {
 public:
  NullWeight(const WeightSource& source, std::int64_t size_bytes, Usage used)
      : type_(source.type),
        num_experts_(source.num_experts),
        rows_(source.rows),
        columns_(source.columns),
        size_bytes_(size_bytes),
        used_(std::move(used)) {}
  ~NullWeight() override { *used_ -= size_bytes_; }
  ElementType type() const override { return type_; }
  std::int64_t num_experts() const override { return num_experts_; }
  std::int64_t rows() const override { return rows_; }
  std::int64_t columns() const override { return columns_; }
  std::int64_t size_bytes() const override { return size_bytes_; }

 private:
  ElementType type_;
  std::int64_t num_experts_, rows_, columns_, size_bytes_;
  Usage used_;
};

class NullEvent : public Event {
 public:
  Status wait(std::int64_t) override { return {}; }
  double seconds_since(const Event& start) const override {
    return 1e-9 * static_cast<double>(time_ns_ - static_cast<const NullEvent&>(start).time_ns_);
  }

 private:
  std::int64_t time_ns_ = monotonic_ns();
};

void zero(const MatrixView& out) {
  for (std::int64_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.columns, 0.0f);
}

void count_up(std::int32_t* ids, std::int64_t rows, std::int32_t columns) {
  for (std::int64_t i = 0; i < rows * columns; ++i) ids[i] = static_cast<std::int32_t>(i % columns);
}

// Outputs are zeros; what is worked on in place stays as it is, which is zero already.
class NullStream : public Stream {
 public:
  void copy_to_device(void* device, const void* host, std::int64_t bytes) override {
    if (bytes > 0) std::memcpy(device, host, static_cast<std::size_t>(bytes));
  }
  void copy_to_host(void* host, const void* device, std::int64_t bytes) override {
    copy_to_device(host, device, bytes);
  }
  void fill_zero(void* device, std::int64_t bytes) override {
    if (bytes > 0) std::memset(device, 0, static_cast<std::size_t>(bytes));
  }
  std::unique_ptr<Event> record() override { return std::make_unique<NullEvent>(); }
  Status synchronize(std::int64_t) override { return {}; }

  void embed(ElementType, std::span<const std::byte>, std::span<const std::int32_t>, float,
             MatrixView out) override {
    zero(out);
  }
  void rms_norm(MatrixView, const float*, float, MatrixView out) override { zero(out); }
  void rms_norm_heads(MatrixView, std::int32_t, const float*, float) override {}
  void add(MatrixView, MatrixView) override {}
  void matmul(MatrixView, std::span<const MatmulTarget> targets) override {
    for (const MatmulTarget& target : targets) zero(target.y);
  }
  void rope(const RopeArgs&) override {}
  void store_kv(MatrixView, MatrixView, const KvView&, std::span<const std::int64_t>) override {}
  void attention(const AttentionArgs& args) override { zero(args.out); }
  void gated_activation(GateKind, MatrixView, MatrixView) override {}
  // Zeros are a tie: the lowest ids.
  void route_experts(const RouteArgs& args) override {
    count_up(args.expert_ids, args.logits.rows, args.top_k);
    std::fill_n(args.weights, args.logits.rows * args.top_k, 0.0f);
  }
  void expert_matmul(const ExpertMatmulArgs& args) override {
    for (const ExpertMatmulTarget& target : args.targets) zero(target.y);
  }
  void combine_experts(MatrixView, const float*, std::int32_t, MatrixView out) override {
    zero(out);
  }
  void soft_cap(MatrixView, float) override {}
  void gather_rows(MatrixView, std::span<const std::int32_t>, MatrixView out) override {
    zero(out);
  }
  void top_k(MatrixView x, std::int32_t k, float* values, std::int32_t* indices) override {
    count_up(indices, x.rows, k);
    std::fill_n(values, x.rows * k, 0.0f);
  }
};

class NullDevice : public Device {
 public:
  NullDevice(std::string id, std::int64_t memory_bytes)
      : info_{std::move(id), DeviceKind::kNull, "null device", memory_bytes, true},
        used_(std::make_shared<std::atomic<std::int64_t>>(0)) {}

  const DeviceInfo& info() const override { return info_; }
  void bind_thread() override {}

  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes) override {
    if (bytes < 0) {
      return invalid_argument("negative buffer size", "0 or more", std::to_string(bytes));
    }
    TANDEM_TRY_STATUS(reserve(bytes));
    Result<HostMemory> memory = HostMemory::allocate(bytes);
    if (!memory.ok()) {
      *used_ -= bytes;
      return memory.error().at(info_.id);
    }
    return std::unique_ptr<Buffer>(std::make_unique<NullBuffer>(std::move(memory).value(), used_));
  }

  // Reads nothing and holds nothing, but counts the bytes as a device that holds the file's blocks.
  Result<std::unique_ptr<Weight>> load_weight(const WeightSource& source) override {
    const std::optional<std::int64_t> row_bytes = bytes_of(source.type, source.columns);
    if (!row_bytes) {
      return invalid_argument("a row is no whole number of blocks", {},
                              std::to_string(source.columns));
    }
    const std::int64_t bytes = *row_bytes * source.rows * source.num_experts;
    TANDEM_TRY_STATUS(reserve(bytes));
    return std::unique_ptr<Weight>(std::make_unique<NullWeight>(source, bytes, used_));
  }

  std::unique_ptr<Stream> create_stream() override { return std::make_unique<NullStream>(); }

 private:
  Status reserve(std::int64_t bytes) {
    const std::int64_t free_bytes = info_.memory_bytes - *used_;
    if (bytes > free_bytes) {
      return Error{ErrorCode::kOutOfMemory, "not enough memory on the device", info_.id,
                   "at most " + format_bytes(free_bytes), format_bytes(bytes)};
    }
    *used_ += bytes;
    return {};
  }

  DeviceInfo info_;
  Usage used_;
};

}  // namespace

std::unique_ptr<Device> create_null_device(std::string id, std::int64_t memory_bytes) {
  return std::make_unique<NullDevice>(std::move(id), memory_bytes);
}

}  // namespace tandem
