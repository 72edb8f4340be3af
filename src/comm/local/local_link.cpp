#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/units.h"
#include "base/waitable_counter.h"
#include "comm/communicator.h"
#include "comm/local/local_group.h"
#include "device/cpu/host_memory.h"

namespace tandem {
namespace {

// Message n lies in slot n % num_slots from the sender's n-th step to every receiver's n-th step.
class LocalLink : public StageLink {
 public:
  explicit LocalLink(const LocalLinkOptions& options)
      : options_(options),
        limits_(wait_limits(options.num_receivers + 1, options.spin_us, options.deadline_us)),
        slots_(static_cast<std::size_t>(options.num_slots)),
        ends_(static_cast<std::size_t>(options.num_receivers) + 1) {
    TANDEM_CHECK(options.num_receivers > 0 && options.num_slots > 1 && options.max_bytes >= 0,
                 "a link has receivers and slots");
  }

  Status send(Stream& stream, MatrixView x) override {
    End& own = end(-1);
    TANDEM_TRY_STATUS(begin(stream));
    // The message that lay in the slot before has number `messages - num_slots`.
    const auto num_slots = static_cast<std::uint64_t>(options_.num_slots);
    for (int receiver = 0; own.messages >= num_slots && receiver < options_.num_receivers;
         ++receiver) {
      TANDEM_TRY_STATUS(wait(own, receiver, own.messages - num_slots + 1));
    }
    const std::int64_t begin_ns = monotonic_ns();
    Slot& slot = slot_of(own);
    TANDEM_TRY_STATUS(fill(slot, x));
    finish(own, x, begin_ns);
    return {};
  }

  Status receive(Stream& stream, int receiver, MatrixView x) override {
    TANDEM_CHECK(receiver >= 0 && receiver < options_.num_receivers, "a receiver of the link");
    End& own = end(receiver);
    TANDEM_TRY_STATUS(begin(stream));
    TANDEM_TRY_STATUS(wait(own, -1, own.messages + 1));
    delay_message(own);
    const std::int64_t begin_ns = monotonic_ns();
    const Slot& slot = slot_of(own);
    if (slot.rows != x.rows || slot.columns != x.columns) {
      const Error error{ErrorCode::kInternal,
                        "a stage got hidden states of another shape",
                        {},
                        shape_text(x.rows, x.columns),
                        shape_text(slot.rows, slot.columns)};
      fail(error);
      return error;
    }
    const auto* from = static_cast<const float*>(slot.memory.data());
    for (std::int64_t row = 0; row < x.rows; ++row) {
      copy(x.row(row), from + row * x.columns, x.columns);
    }
    finish(own, x, begin_ns);
    return {};
  }

  bool has_message(int receiver) const override {
    const WaitableCounter& sent = ends_[0].passed;
    const End& own = ends_[static_cast<std::size_t>(receiver + 1)];
    return sent.interrupted() ||
           sent.has_reached(static_cast<std::uint32_t>(own.passed.count() + 1));
  }
  void abort(const Error& reason) override { fail(peer_lost(reason)); }
  CommStats stats(int receiver) const override {
    return ends_[static_cast<std::size_t>(receiver + 1)].stats;
  }
  void reset_stats() override {
    for (End& each : ends_) each.stats = {};
  }

 private:
  struct Slot {
    HostMemory memory;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
  };
  // The sender's or a receiver's side, on cache lines of its own.
  struct alignas(64) End {
    WaitableCounter passed;      // messages sent, or taken
    std::uint64_t messages = 0;  // the same count, in full, for the end's own thread
    CommStats stats;
  };

  static std::string shape_text(std::int64_t rows, std::int64_t columns) {
    return std::to_string(rows) + " x " + std::to_string(columns);
  }
  static void copy(float* to, const float* from, std::int64_t count) {
    if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
  }

  Slot& slot_of(const End& own) { return slots_[own.messages % slots_.size()]; }
  End& end(int receiver) { return ends_[static_cast<std::size_t>(receiver + 1)]; }

  void fail(const Error& error) {
    failure_.set(error);
    for (End& each : ends_) each.passed.interrupt();
  }

  Status begin(Stream& stream) {
    if (end(-1).passed.interrupted()) return *failure_.get();
    Status status = stream.synchronize(options_.deadline_us);
    if (!status.ok()) fail(peer_lost(status.error()));
    return status;
  }

  Status wait(End& own, int for_whom, std::uint64_t count) {
    const std::int64_t begin_ns = monotonic_ns();
    const auto outcome = end(for_whom).passed.wait_for(static_cast<std::uint32_t>(count), limits_);
    own.stats.wait_seconds += 1e-9 * static_cast<double>(monotonic_ns() - begin_ns);
    if (outcome == WaitableCounter::Outcome::kReached) return {};
    if (outcome == WaitableCounter::Outcome::kDeadline) {
      fail(Error{ErrorCode::kDeadline,
                 for_whom < 0 ? "the stage before sent nothing" : "the next stage took nothing",
                 {},
                 "within " + format_seconds(1e-6 * static_cast<double>(options_.deadline_us)),
                 {}});
    }
    return *failure_.get();
  }

  void delay_message(End& own) {
    const std::int64_t begin_ns = monotonic_ns();
    delay(options_.injected_delay_us);
    own.stats.wait_seconds += 1e-9 * static_cast<double>(monotonic_ns() - begin_ns);
  }

  Status fill(Slot& slot, MatrixView x) {
    const std::int64_t bytes = x.rows * x.columns * static_cast<std::int64_t>(sizeof(float));
    TANDEM_CHECK(bytes <= options_.max_bytes, "a message is at most max_bytes");
    if (slot.memory.size_bytes() < bytes) {
      // All of it at once: pages become resident when they are used.
      Result<HostMemory> memory = HostMemory::allocate(options_.max_bytes);
      if (!memory.ok()) {
        fail(peer_lost(memory.error()));
        return std::move(memory).error();
      }
      slot.memory = std::move(memory).value();
    }
    slot.rows = x.rows;
    slot.columns = x.columns;
    auto* to = static_cast<float*>(slot.memory.data());
    for (std::int64_t row = 0; row < x.rows; ++row)
      copy(to + row * x.columns, x.row(row), x.columns);
    return {};
  }

  void finish(End& own, MatrixView x, std::int64_t begin_ns) {
    own.stats.move_seconds += 1e-9 * static_cast<double>(monotonic_ns() - begin_ns);
    own.stats.sent_bytes += x.rows * x.columns * static_cast<std::int64_t>(sizeof(float));
    ++own.stats.num_transfers;
    ++own.messages;
    own.passed.advance();
  }

  LocalLinkOptions options_;
  WaitLimits limits_;
  std::vector<Slot> slots_;
  std::vector<End> ends_;  // the sender, then the receivers
  SharedFailure failure_;
};

}  // namespace

std::unique_ptr<StageLink> create_local_link(const LocalLinkOptions& options) {
  return std::make_unique<LocalLink>(options);
}

}  // namespace tandem
