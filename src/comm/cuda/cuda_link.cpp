#include "comm/cuda/cuda_link.h"

#include <algorithm>
#include <deque>

#include "base/check.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/units.h"
#include "comm/cuda/gpu_of_device.h"
#include "comm/cuda/link_end.h"
#include "comm/cuda/peer_check.h"
#include "comm/deferred_arrival.h"
#include "device/cuda/cuda_error.h"
#include "tensor/gpu_memory.h"

namespace tandem {
namespace cuda {
namespace {

static_assert(LocalLinkOptions().num_slots == kLinkSlots, "what plans reckon with");

// Message n lies in slot n % num_slots from the sender's n-th call to every receiver's n-th.
class GpuLink : public StageLink, public DeferredArrival {
 public:
  GpuLink(const LocalLinkOptions& options, GpuTransport transport)
      : options_(options),
        limits_(wait_limits(options.num_receivers + 1, options.spin_us, options.deadline_us)),
        transport_(transport),
        slot_bytes_(align_up(options.max_bytes, kBufferAlignment)),
        shapes_(static_cast<std::size_t>(options.num_slots)),
        ends_(static_cast<std::size_t>(options.num_receivers) + 1) {}

  ~GpuLink() override {
    if (host_slots_ != nullptr) (void)cudaFreeHost(host_slots_);
  }
  GpuLink(const GpuLink&) = delete;
  GpuLink& operator=(const GpuLink&) = delete;

  Status open(Device& sender, std::span<Device* const> receivers) {
    TANDEM_TRY_STATUS(end(-1).open(sender, options_.num_slots));
    for (std::size_t i = 0; i < receivers.size(); ++i) {
      TANDEM_TRY_STATUS(end(static_cast<int>(i)).open(*receivers[i], options_.num_slots));
      if (transport_ != GpuTransport::kPeer) continue;
      TANDEM_TRY(auto slots, receivers[i]->allocate(options_.num_slots * slot_bytes_));
      gpu_slots_.push_back(std::move(slots));
    }
    if (transport_ == GpuTransport::kPeer) return {};
    return status_of(
        cudaHostAlloc(&host_slots_, static_cast<std::size_t>(options_.num_slots * slot_bytes_),
                      cudaHostAllocPortable),
        "no page-locked memory between stages");
  }

  Status send(Stream& stream, MatrixView x) override { return guard(try_send(stream, x)); }
  Status receive(Stream& stream, int receiver, MatrixView x) override {
    TANDEM_CHECK(receiver >= 0 && receiver < options_.num_receivers, "a receiver of the link");
    return guard(try_receive(stream, receiver, x));
  }
  Status wait_for_arrival(int receiver) override {
    LinkEnd& own = end(receiver);
    if (own.num_messages() == 0) return {};
    return guard(
        own.wait_until_done(slot_of(own.num_messages() - 1), options_.deadline_us, failure_));
  }

  bool has_message(int receiver) const override {
    const WaitableCounter& sent = ends_[0].calls;
    const LinkEnd& own = ends_[static_cast<std::size_t>(receiver + 1)];
    return sent.interrupted() ||
           sent.has_reached(static_cast<std::uint32_t>(own.calls.count() + 1));
  }
  void abort(const Error& reason) override { fail(peer_lost(reason)); }
  // The end's own thread, as it reads how long the end's GPU took.
  CommStats stats(int receiver) const override {
    return ends_[static_cast<std::size_t>(receiver + 1)].take_stats();
  }
  void reset_stats() override {
    for (LinkEnd& each : ends_) each.reset_stats();
  }

 private:
  struct Shape {
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::string text() const { return std::to_string(rows) + " x " + std::to_string(columns); }
  };

  LinkEnd& end(int receiver) { return ends_[static_cast<std::size_t>(receiver + 1)]; }
  std::size_t slot_of(std::uint64_t message) const { return message % shapes_.size(); }

  void fail(const Error& error) {
    failure_.set(error);
    for (LinkEnd& each : ends_) each.calls.interrupt();
  }
  // An end that fails fails the link: nobody may wait for it. What its device says is the end's own
  // error, and to the others the loss of it.
  Status guard(Status status) {
    if (status.ok()) return status;
    const ErrorCode code = status.error().code;
    const bool is_link_error = code == ErrorCode::kDeadline || code == ErrorCode::kInternal;
    fail(is_link_error ? status.error() : peer_lost(status.error()));
    return status;
  }

  // Where `receiver` finds what lies in a slot.
  MatrixView slot_at(int receiver, std::size_t slot, const Shape& shape) {
    void* memory = transport_ == GpuTransport::kPeer
                       ? gpu_slots_[static_cast<std::size_t>(receiver)]->data()
                       : host_slots_;
    std::byte* begin =
        static_cast<std::byte*>(memory) + static_cast<std::int64_t>(slot) * slot_bytes_;
    return dense(reinterpret_cast<float*>(begin), shape.rows, shape.columns);
  }

  Status try_send(Stream& stream, MatrixView x) {
    LinkEnd& own = end(-1);
    TANDEM_TRY_STATUS(begin(own, stream));
    const std::int64_t bytes = x.rows * x.columns * static_cast<std::int64_t>(sizeof(float));
    TANDEM_CHECK(bytes <= options_.max_bytes, "a message is at most max_bytes");
    const std::size_t slot = slot_of(own.num_messages());
    const auto num_slots = static_cast<std::uint64_t>(options_.num_slots);
    for (int r = 0; own.num_messages() >= num_slots && r < options_.num_receivers; ++r) {
      // The message that lay in the slot before has number `messages - num_slots`.
      TANDEM_TRY_STATUS(await_call(own, r, own.num_messages() - num_slots + 1));
      TANDEM_TRY_STATUS(own.follow(end(r), slot, options_.deadline_us, failure_));
    }
    shapes_[slot] = {x.rows, x.columns};
    const int copies = transport_ == GpuTransport::kPeer ? options_.num_receivers : 1;
    for (int r = 0; r < copies; ++r) {
      TANDEM_TRY_STATUS(own.copy(slot_at(r, slot, shapes_[slot]), x));
    }
    return own.finish(slot, bytes * copies);
  }

  Status try_receive(Stream& stream, int receiver, MatrixView x) {
    LinkEnd& own = end(receiver);
    TANDEM_TRY_STATUS(begin(own, stream));
    TANDEM_TRY_STATUS(await_call(own, -1, own.num_messages() + 1));
    delay_message(own);
    const std::size_t slot = slot_of(own.num_messages());
    const Shape& shape = shapes_[slot];
    if (shape.rows != x.rows || shape.columns != x.columns) {
      return Error{ErrorCode::kInternal,
                   "a stage got hidden states of another shape",
                   {},
                   Shape{x.rows, x.columns}.text(),
                   shape.text()};
    }
    TANDEM_TRY_STATUS(own.follow(end(-1), slot, options_.deadline_us, failure_));
    TANDEM_TRY_STATUS(own.copy(x, slot_at(receiver, slot, shape)));
    return own.finish(slot, x.rows * x.columns * static_cast<std::int64_t>(sizeof(float)));
  }

  Status begin(LinkEnd& own, Stream& stream) {
    if (const auto failed = failure_.get()) return *failed;
    return own.begin(stream, options_.deadline_us);
  }

  // Until the other end (-1: the sender) has enqueued its part of `count` messages.
  Status await_call(LinkEnd& own, int other, std::uint64_t count) {
    const std::int64_t began = monotonic_ns();
    const auto outcome = end(other).calls.wait_for(static_cast<std::uint32_t>(count), limits_);
    own.add_wait(1e-9 * static_cast<double>(monotonic_ns() - began));
    if (outcome == WaitableCounter::Outcome::kReached) return {};
    if (outcome == WaitableCounter::Outcome::kInterrupted) return *failure_.get();
    return Error{ErrorCode::kDeadline,
                 other < 0 ? "the stage before sent nothing" : "the next stage took nothing",
                 {},
                 "within " + format_seconds(1e-6 * static_cast<double>(options_.deadline_us)),
                 {}};
  }

  void delay_message(LinkEnd& own) {
    if (options_.injected_delay_us == 0) return;
    const std::int64_t began = monotonic_ns();
    delay(options_.injected_delay_us);
    own.add_wait(1e-9 * static_cast<double>(monotonic_ns() - began));
  }

  LocalLinkOptions options_;
  WaitLimits limits_;
  GpuTransport transport_;
  std::int64_t slot_bytes_;
  std::vector<std::unique_ptr<Buffer>> gpu_slots_;  // of each receiver: kPeer
  void* host_slots_ = nullptr;                      // kHost
  std::vector<Shape> shapes_;                       // of the messages in the slots
  mutable std::deque<LinkEnd> ends_;                // the sender, then the receivers
  SharedFailure failure_;
};

bool is_gpu(const Device& device) {
  return device.info().kind == DeviceKind::kCuda;
}

Result<GpuTransport> choose_transport(Device& sender, std::span<Device* const> receivers,
                                      GpuTransport wanted, std::vector<std::string>& notes) {
  const bool all_gpus = is_gpu(sender) && std::ranges::all_of(receivers, [](const Device* device) {
                          return is_gpu(*device);
                        });
  if (all_gpus && wanted != GpuTransport::kHost) {
    std::vector<int> gpus = {gpu_of_device(sender).index};
    for (Device* receiver : receivers) gpus.push_back(gpu_of_device(*receiver).index);
    TANDEM_TRY(notes, find_peer_faults(gpus));
    if (notes.empty()) return GpuTransport::kPeer;
  }
  if (wanted != GpuTransport::kPeer) return GpuTransport::kHost;
  return Error{ErrorCode::kDeviceFailed,
               notes.empty() ? "cores have no memory that a GPU's peers write to" : notes.front(),
               {},
               "peer access",
               {}};
}

}  // namespace
}  // namespace cuda

Result<CudaLink> create_cuda_link(Device& sender, std::span<Device* const> receivers,
                                  const LocalLinkOptions& options, GpuTransport transport) {
  TANDEM_CHECK(static_cast<std::size_t>(options.num_receivers) == receivers.size() &&
                   !receivers.empty() && options.num_slots > 1 && options.max_bytes >= 0,
               "a link has receivers and slots");
  const bool any_gpu = cuda::is_gpu(sender) || std::ranges::any_of(receivers, [](const Device* d) {
                         return cuda::is_gpu(*d);
                       });
  if (!any_gpu) return unsupported({}, "a link between cores", "a GPU at one end", "none");
  CudaLink made;
  TANDEM_TRY(made.transport, cuda::choose_transport(sender, receivers, transport, made.notes));
  auto link = std::make_shared<cuda::GpuLink>(options, made.transport);
  TANDEM_TRY_STATUS(link->open(sender, receivers));
  made.link = std::move(link);
  return made;
}

}  // namespace tandem
