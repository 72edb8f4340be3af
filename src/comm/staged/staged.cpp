#include "comm/staged/staged.h"

#include "comm/recordable.h"

#include <vector>

namespace tandem {
namespace {

// A dense copy of a device's matrix in host memory. Used by one thread.
class HostMatrix {
 public:
  explicit HostMatrix(std::int64_t deadline_us) : deadline_us_(deadline_us) {}

  MatrixView like(MatrixView x) {
    values_.resize(static_cast<std::size_t>(x.rows * x.columns));
    return dense(values_.data(), x.rows, x.columns);
  }
  // Blocks until the values are here.
  Result<MatrixView> fetch(Stream& stream, MatrixView x) {
    const MatrixView host = like(x);
    for_runs(x, [&](std::int64_t first, std::int64_t bytes) {
      stream.copy_to_host(host.row(first), x.row(first), bytes);
    });
    TANDEM_TRY_STATUS(stream.synchronize(deadline_us_));
    return host;
  }
  // Blocks until the device has them: the host's copy is used again then.
  Status put(Stream& stream, MatrixView host, MatrixView x) {
    for_runs(x, [&](std::int64_t first, std::int64_t bytes) {
      stream.copy_to_device(x.row(first), host.row(first), bytes);
    });
    return stream.synchronize(deadline_us_);
  }

 private:
  // Calls copy(first row, bytes) for pieces of x that lie together.
  template <typename F>
  static void for_runs(MatrixView x, F&& copy) {
    const std::int64_t row_bytes = x.columns * static_cast<std::int64_t>(sizeof(float));
    if (x.rows == 0 || x.columns == 0) return;
    if (x.row_stride == x.columns) return copy(0, x.rows * row_bytes);
    for (std::int64_t row = 0; row < x.rows; ++row) copy(row, row_bytes);
  }

  std::int64_t deadline_us_;
  std::vector<float> values_;
};

class StagedCommunicator : public Communicator, public Recordable {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> inner, std::int64_t deadline_us)
      : inner_(std::move(inner)), host_(deadline_us) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  bool can_be_recorded() const override { return size() == 1; }  // then it does nothing

  Status all_reduce_sum(Stream& stream, MatrixView x) override {
    if (size() == 1) return {};  // nothing to wait for
    return through_host(stream, x,
                        [&](MatrixView host) { return inner_->all_reduce_sum(stream, host); });
  }

  Status all_gather_columns(Stream& stream, MatrixView x,
                            const std::vector<std::int64_t>& offsets) override {
    if (size() == 1) return {};
    return through_host(stream, x, [&](MatrixView host) {
      return inner_->all_gather_columns(stream, host, offsets);
    });
  }

  Status barrier() override { return inner_->barrier(); }
  void abort(const Error& reason) override { inner_->abort(reason); }
  const CommStats& stats() const override { return inner_->stats(); }
  void reset_stats() override { inner_->reset_stats(); }

 private:
  template <typename Collective>
  Status through_host(Stream& stream, MatrixView x, Collective&& collective) {
    auto host = host_.fetch(stream, x);
    if (!host.ok()) {
      inner_->abort(host.error());
      return host.error();
    }
    TANDEM_TRY_STATUS(collective(*host));
    return host_.put(stream, *host, x);
  }

  std::unique_ptr<Communicator> inner_;
  HostMatrix host_;
};

class StagedLink : public StageLink {
 public:
  StagedLink(std::shared_ptr<StageLink> inner, std::int64_t deadline_us)
      : inner_(std::move(inner)), host_(deadline_us) {}

  Status send(Stream& stream, MatrixView x) override {
    TANDEM_TRY(const MatrixView host, host_.fetch(stream, x));
    return inner_->send(stream, host);
  }
  Status receive(Stream& stream, int receiver, MatrixView x) override {
    const MatrixView host = host_.like(x);
    TANDEM_TRY_STATUS(inner_->receive(stream, receiver, host));
    return host_.put(stream, host, x);
  }
  bool has_message(int receiver) const override { return inner_->has_message(receiver); }
  void abort(const Error& reason) override { inner_->abort(reason); }
  CommStats stats(int receiver) const override { return inner_->stats(receiver); }
  void reset_stats() override { inner_->reset_stats(); }

 private:
  std::shared_ptr<StageLink> inner_;
  HostMatrix host_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged(std::unique_ptr<Communicator> inner,
                                          std::int64_t deadline_us) {
  return std::make_unique<StagedCommunicator>(std::move(inner), deadline_us);
}

std::shared_ptr<StageLink> make_staged(std::shared_ptr<StageLink> inner, std::int64_t deadline_us) {
  return std::make_shared<StagedLink>(std::move(inner), deadline_us);
}

}  // namespace tandem
