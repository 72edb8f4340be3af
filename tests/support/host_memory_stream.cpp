#include "support/host_memory_stream.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace tandem::test {
namespace {

constexpr std::int64_t kDeadlineUs = 60'000'000;

}  // namespace

// The host memory that one op touches, and its copies on the device. Pieces that overlap are one
// allocation, so that views of one matrix stay views of one matrix.
class HostMemoryStream::Mirror {
 public:
  explicit Mirror(HostMemoryStream& stream) : stream_(stream) {}

  void add(const void* host, std::int64_t bytes) {
    if (host == nullptr || bytes <= 0) return;
    auto begin = reinterpret_cast<std::uintptr_t>(host);
    auto end = begin + static_cast<std::uintptr_t>(bytes);
    for (auto it = pieces_.begin(); it != pieces_.end();) {
      if (it->second.end <= begin || it->first >= end) {
        ++it;
        continue;
      }
      begin = std::min(begin, it->first);
      end = std::max(end, it->second.end);
      it = pieces_.erase(it);
    }
    pieces_[begin].end = end;
  }
  void add(const MatrixView& x) {
    if (x.rows > 0 && x.columns > 0) add(x.data, ((x.rows - 1) * x.row_stride + x.columns) * 4);
  }
  void add(const KvView& kv) {
    const auto row_bytes = bytes_of(kv.type, kv.head_dim);
    const std::int64_t bytes =
        row_bytes.value_or(0) * kv.block_tokens * kv.num_kv_heads * kv.num_blocks;
    add(kv.k, bytes);
    add(kv.v, bytes);
  }

  template <typename T>
  T* at(T* host) {
    if (host == nullptr) return nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(host);
    auto found = pieces_.upper_bound(address);
    if (found == pieces_.begin()) return nullptr;
    --found;
    if (address >= found->second.end) return nullptr;  // of a view without elements
    auto* base = static_cast<std::byte*>(found->second.device->data());
    return reinterpret_cast<T*>(base + (address - found->first));
  }
  MatrixView at(MatrixView x) {
    x.data = at(x.data);
    return x;
  }
  KvView at(KvView kv) {
    kv.k = at(kv.k);
    kv.v = at(kv.v);
    return kv;
  }

  // Runs op on the copies. What could not have been written is the same afterwards.
  template <typename Op>
  void run(Op&& op) {
    Stream& inner = *stream_.inner_;
    for (auto& [begin, piece] : pieces_) {
      auto buffer = stream_.device_.allocate(static_cast<std::int64_t>(piece.end - begin));
      TANDEM_CHECK(buffer.ok(), buffer.error().to_string());
      piece.device = std::move(buffer).value();
      inner.copy_to_device(piece.device->data(), reinterpret_cast<void*>(begin),
                           piece.device->size_bytes());
    }
    op(inner);
    std::vector<std::vector<std::byte>> after;
    for (auto& [begin, piece] : pieces_) {
      after.emplace_back(piece.end - begin);
      inner.copy_to_host(after.back().data(), piece.device->data(), piece.device->size_bytes());
    }
    if (!inner.synchronize(kDeadlineUs).ok()) return;  // the stream keeps the error
    auto bytes = after.begin();
    for (auto& [begin, piece] : pieces_) {
      auto* host = reinterpret_cast<void*>(begin);
      // Constants may lie in memory that cannot be written.
      if (std::memcmp(host, bytes->data(), bytes->size()) != 0) {
        std::memcpy(host, bytes->data(), bytes->size());
      }
      ++bytes;
    }
  }

 private:
  struct Piece {
    std::uintptr_t end = 0;
    std::unique_ptr<Buffer> device;
  };
  HostMemoryStream& stream_;
  std::map<std::uintptr_t, Piece> pieces_;  // by their begin on the host
};

void HostMemoryStream::copy_to_device(void* device, const void* host, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(device, host, static_cast<std::size_t>(bytes));
}

void HostMemoryStream::copy_to_host(void* host, const void* device, std::int64_t bytes) {
  copy_to_device(host, device, bytes);
}

void HostMemoryStream::fill_zero(void* memory, std::int64_t bytes) {
  Mirror mirror(*this);
  mirror.add(memory, bytes);
  mirror.run([&](Stream& inner) { inner.fill_zero(mirror.at(memory), bytes); });
}

void HostMemoryStream::embed(ElementType type, std::span<const std::byte> table,
                             std::span<const std::int32_t> ids, float scale, MatrixView out) {
  Mirror mirror(*this);
  mirror.add(out);
  mirror.run([&](Stream& inner) { inner.embed(type, table, ids, scale, mirror.at(out)); });
}

void HostMemoryStream::rms_norm(MatrixView x, const float* weight, float eps, MatrixView out) {
  Mirror mirror(*this);
  mirror.add(x);
  mirror.add(weight, x.columns * 4);
  mirror.add(out);
  mirror.run(
      [&](Stream& inner) { inner.rms_norm(mirror.at(x), mirror.at(weight), eps, mirror.at(out)); });
}

void HostMemoryStream::rms_norm_heads(MatrixView x, std::int32_t head_dim, const float* weight,
                                      float eps) {
  Mirror mirror(*this);
  mirror.add(x);
  mirror.add(weight, std::int64_t{head_dim} * 4);
  mirror.run(
      [&](Stream& inner) { inner.rms_norm_heads(mirror.at(x), head_dim, mirror.at(weight), eps); });
}

void HostMemoryStream::add(MatrixView x, MatrixView y) {
  Mirror mirror(*this);
  mirror.add(x);
  mirror.add(y);
  mirror.run([&](Stream& inner) { inner.add(mirror.at(x), mirror.at(y)); });
}

void HostMemoryStream::matmul(MatrixView x, std::span<const MatmulTarget> targets) {
  Mirror mirror(*this);
  mirror.add(x);
  for (const MatmulTarget& target : targets) {
    mirror.add(target.y);
    mirror.add(target.bias, target.y.columns * 4);
  }
  mirror.run([&](Stream& inner) {
    std::vector<MatmulTarget> on_device(targets.begin(), targets.end());
    for (MatmulTarget& target : on_device) {
      target.bias = mirror.at(target.bias);
      target.y = mirror.at(target.y);
    }
    inner.matmul(mirror.at(x), on_device);
  });
}

void HostMemoryStream::rope(const RopeArgs& args) {
  Mirror mirror(*this);
  mirror.add(args.x);
  mirror.add(args.inverse_frequencies, std::int64_t{args.rope_dims} / 2 * 4);
  mirror.add(args.positions, args.x.rows * 4);
  mirror.run([&](Stream& inner) {
    RopeArgs on_device = args;
    on_device.x = mirror.at(args.x);
    on_device.inverse_frequencies = mirror.at(args.inverse_frequencies);
    on_device.positions = mirror.at(args.positions);
    inner.rope(on_device);
  });
}

void HostMemoryStream::store_kv(MatrixView k, MatrixView v, const KvView& kv,
                                std::span<const std::int64_t> slots) {
  Mirror mirror(*this);
  mirror.add(k);
  mirror.add(v);
  mirror.add(kv);
  mirror.run(
      [&](Stream& inner) { inner.store_kv(mirror.at(k), mirror.at(v), mirror.at(kv), slots); });
}

void HostMemoryStream::attention(const AttentionArgs& args) {
  Mirror mirror(*this);
  mirror.add(args.q);
  mirror.add(args.out);
  mirror.add(args.kv);
  mirror.run([&](Stream& inner) {
    AttentionArgs on_device = args;
    on_device.q = mirror.at(args.q);
    on_device.out = mirror.at(args.out);
    on_device.kv = mirror.at(args.kv);
    inner.attention(on_device);
  });
}

void HostMemoryStream::gated_activation(GateKind kind, MatrixView gate, MatrixView up) {
  Mirror mirror(*this);
  mirror.add(gate);
  mirror.add(up);
  mirror.run([&](Stream& inner) { inner.gated_activation(kind, mirror.at(gate), mirror.at(up)); });
}

void HostMemoryStream::route_experts(const RouteArgs& args) {
  Mirror mirror(*this);
  const std::int64_t bytes = args.logits.rows * args.top_k * 4;
  mirror.add(args.logits);
  mirror.add(args.expert_ids, bytes);
  mirror.add(args.weights, bytes);
  mirror.run([&](Stream& inner) {
    RouteArgs on_device = args;
    on_device.logits = mirror.at(args.logits);
    on_device.expert_ids = mirror.at(args.expert_ids);
    on_device.weights = mirror.at(args.weights);
    inner.route_experts(on_device);
  });
}

void HostMemoryStream::expert_matmul(const ExpertMatmulArgs& args) {
  Mirror mirror(*this);
  mirror.add(args.x);
  mirror.add(args.expert_ids, std::int64_t{args.num_tokens} * args.top_k * 4);
  for (const ExpertMatmulTarget& target : args.targets) mirror.add(target.y);
  mirror.run([&](Stream& inner) {
    std::vector<ExpertMatmulTarget> targets(args.targets.begin(), args.targets.end());
    for (ExpertMatmulTarget& target : targets) target.y = mirror.at(target.y);
    ExpertMatmulArgs on_device = args;
    on_device.x = mirror.at(args.x);
    on_device.expert_ids = mirror.at(args.expert_ids);
    on_device.targets = targets;
    inner.expert_matmul(on_device);
  });
}

void HostMemoryStream::combine_experts(MatrixView y, const float* weights, std::int32_t top_k,
                                       MatrixView out) {
  Mirror mirror(*this);
  mirror.add(y);
  mirror.add(weights, out.rows * top_k * 4);
  mirror.add(out);
  mirror.run([&](Stream& inner) {
    inner.combine_experts(mirror.at(y), mirror.at(weights), top_k, mirror.at(out));
  });
}

void HostMemoryStream::soft_cap(MatrixView x, float cap) {
  Mirror mirror(*this);
  mirror.add(x);
  mirror.run([&](Stream& inner) { inner.soft_cap(mirror.at(x), cap); });
}

void HostMemoryStream::gather_rows(MatrixView x, std::span<const std::int32_t> indices,
                                   MatrixView out) {
  Mirror mirror(*this);
  mirror.add(x);
  mirror.add(out);
  mirror.run([&](Stream& inner) { inner.gather_rows(mirror.at(x), indices, mirror.at(out)); });
}

void HostMemoryStream::top_k(MatrixView x, std::int32_t k, float* values, std::int32_t* indices) {
  Mirror mirror(*this);
  mirror.add(x);
  mirror.add(values, x.rows * k * 4);
  mirror.add(indices, x.rows * k * 4);
  mirror.run(
      [&](Stream& inner) { inner.top_k(mirror.at(x), k, mirror.at(values), mirror.at(indices)); });
}

}  // namespace tandem::test
