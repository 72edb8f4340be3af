#include "support/faulty_device.h"

#include <chrono>
#include <thread>

namespace tandem::test {
namespace {

class FaultyStream : public Stream {
 public:
  FaultyStream(std::unique_ptr<Stream> inner, std::shared_ptr<Fault> fault)
      : inner_(std::move(inner)), fault_(std::move(fault)) {}

  Status synchronize(std::int64_t deadline_us) override {
    TANDEM_TRY_STATUS(fault_->on_synchronize());
    return inner_->synchronize(deadline_us);
  }
  std::unique_ptr<Event> record() override { return inner_->record(); }
  void copy_to_device(void* device, const void* host, std::int64_t bytes) override {
    inner_->copy_to_device(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, std::int64_t bytes) override {
    inner_->copy_to_host(host, device, bytes);
  }
  void fill_zero(void* device, std::int64_t bytes) override { inner_->fill_zero(device, bytes); }
  void embed(ElementType type, std::span<const std::byte> table, std::span<const std::int32_t> ids,
             float scale, MatrixView out) override {
    inner_->embed(type, table, ids, scale, out);
  }
  void rms_norm(MatrixView x, const float* weight, float eps, MatrixView out) override {
    inner_->rms_norm(x, weight, eps, out);
  }
  void rms_norm_heads(MatrixView x, std::int32_t head_dim, const float* weight,
                      float eps) override {
    inner_->rms_norm_heads(x, head_dim, weight, eps);
  }
  void add(MatrixView x, MatrixView y) override { inner_->add(x, y); }
  void matmul(MatrixView x, std::span<const MatmulTarget> targets) override {
    inner_->matmul(x, targets);
  }
  void rope(const RopeArgs& args) override { inner_->rope(args); }
  void store_kv(MatrixView k, MatrixView v, const KvView& kv,
                std::span<const std::int64_t> slots) override {
    inner_->store_kv(k, v, kv, slots);
  }
  void attention(const AttentionArgs& args) override { inner_->attention(args); }
  void gated_activation(GateKind kind, MatrixView gate, MatrixView up) override {
    inner_->gated_activation(kind, gate, up);
  }
  void route_experts(const RouteArgs& args) override { inner_->route_experts(args); }
  void expert_matmul(const ExpertMatmulArgs& args) override { inner_->expert_matmul(args); }
  void combine_experts(MatrixView y, const float* weights, std::int32_t top_k,
                       MatrixView out) override {
    inner_->combine_experts(y, weights, top_k, out);
  }
  void soft_cap(MatrixView x, float cap) override { inner_->soft_cap(x, cap); }
  void gather_rows(MatrixView x, std::span<const std::int32_t> indices, MatrixView out) override {
    inner_->gather_rows(x, indices, out);
  }
  void top_k(MatrixView x, std::int32_t k, float* values, std::int32_t* indices) override {
    inner_->top_k(x, k, values, indices);
  }

 private:
  std::unique_ptr<Stream> inner_;
  std::shared_ptr<Fault> fault_;
};

class FaultyDevice : public Device {
 public:
  FaultyDevice(std::unique_ptr<Device> inner, std::shared_ptr<Fault> fault)
      : inner_(std::move(inner)), fault_(std::move(fault)) {}

  const DeviceInfo& info() const override { return inner_->info(); }
  void bind_thread() override {
    fault_->on_bind();
    inner_->bind_thread();
  }
  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes) override {
    return inner_->allocate(bytes);
  }
  Result<std::unique_ptr<Weight>> load_weight(const WeightSource& source) override {
    TANDEM_TRY_STATUS(fault_->on_load());
    return inner_->load_weight(source);
  }
  std::unique_ptr<Stream> create_stream() override {
    return std::make_unique<FaultyStream>(inner_->create_stream(), fault_);
  }

 private:
  std::unique_ptr<Device> inner_;
  std::shared_ptr<Fault> fault_;
};

// Counts down to the call that is struck; true from then on.
bool strikes(int& in) {
  if (in > 0)
    --in;
  else if (in == 0)
    return true;
  return false;
}

}  // namespace

void Fault::fail_after(int after) {
  const std::lock_guard lock(mutex_);
  fail_in_ = after;
}

void Fault::hang_after(int after) {
  const std::lock_guard lock(mutex_);
  hang_in_ = after;
}

void Fault::release() {
  const std::lock_guard lock(mutex_);
  hang_in_ = -1;
  released_.notify_all();
}

void Fault::slow_down(std::int64_t microseconds) {
  const std::lock_guard lock(mutex_);
  slow_us_ = microseconds;
}

void Fault::fail_load_after(int after) {
  const std::lock_guard lock(mutex_);
  fail_load_in_ = after;
}

Status Fault::on_synchronize() {
  std::unique_lock lock(mutex_);
  if (strikes(fail_in_)) {
    return Error{ErrorCode::kDeviceFailed, "the device fell off the bus", {}, {}, {}};
  }
  if (strikes(hang_in_)) released_.wait(lock, [this] { return hang_in_ < 0; });
  const std::int64_t slow_us = slow_us_;
  lock.unlock();
  if (slow_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(slow_us));
  return {};
}

int Fault::num_binds() {
  const std::lock_guard lock(mutex_);
  return num_binds_;
}

void Fault::on_bind() {
  const std::lock_guard lock(mutex_);
  if (!has_loaded_) ++num_binds_;
}

Status Fault::on_load() {
  const std::lock_guard lock(mutex_);
  has_loaded_ = true;
  if (!strikes(fail_load_in_)) return {};
  return Error{ErrorCode::kOutOfMemory, "the device is full", {}, {}, {}};
}

std::unique_ptr<Device> make_faulty(std::unique_ptr<Device> inner, std::shared_ptr<Fault> fault) {
  return std::make_unique<FaultyDevice>(std::move(inner), std::move(fault));
}

}  // namespace tandem::test
