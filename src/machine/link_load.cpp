#include "machine/link_load.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

namespace tandem {
namespace {

constexpr std::size_t kBytes = 64u << 20;
constexpr int kMaxGpus = 64;
constexpr double kWarmUpSeconds = 0.3;  // links train up within milliseconds of the first copy

// A card with a context and one buffer; gives both back.
class Card {
 public:
  static Result<std::unique_ptr<Card>> open(const CudaDriver& cuda, int ordinal) {
    auto card = std::unique_ptr<Card>(new Card(cuda));
    std::array<char, 32> bus_id{};
    TANDEM_TRY_STATUS(check(cuda.device(&card->device_, ordinal), "cuDeviceGet"));
    TANDEM_TRY_STATUS(
        check(cuda.pci_bus_id(bus_id.data(), static_cast<int>(bus_id.size()) - 1, card->device_),
              "cuDeviceGetPCIBusId"));
    card->address_ = PciAddress::parse(bus_id.data()).value_or(PciAddress{});
    TANDEM_TRY_STATUS(
        check(cuda.retain_context(&card->context_, card->device_), "cuDevicePrimaryCtxRetain"));
    card->retained_ = true;
    TANDEM_TRY_STATUS(check(cuda.set_context(card->context_), "cuCtxSetCurrent"));
    TANDEM_TRY_STATUS(check(cuda.allocate(&card->buffer_, kBytes), "cuMemAlloc"));
    return card;
  }
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;
  ~Card() {
    if (!retained_) return;
    cuda_.set_context(context_);
    if (buffer_ != 0) cuda_.free(buffer_);
    cuda_.release_context(device_);
  }

  static Status check(int code, const char* call) {
    if (code == 0) return {};
    return Error{ErrorCode::kDeviceFailed, std::string(call) + " failed", "CUDA driver",
                 "CUDA_SUCCESS", std::to_string(code)};
  }

  int device() const { return device_; }
  const PciAddress& address() const { return address_; }
  CudaDriver::Context context() const { return context_; }
  CudaDriver::Pointer buffer() const { return buffer_; }

 private:
  explicit Card(const CudaDriver& cuda) : cuda_(cuda) {}

  const CudaDriver& cuda_;
  int device_ = 0;
  bool retained_ = false;
  PciAddress address_;
  CudaDriver::Context context_ = nullptr;
  CudaDriver::Pointer buffer_ = 0;
};

using Cards = std::vector<std::unique_ptr<Card>>;

Result<Cards> open_cards(const CudaDriver& cuda) {
  TANDEM_TRY_STATUS(Card::check(cuda.init(0), "cuInit"));
  int count = 0;
  TANDEM_TRY_STATUS(Card::check(cuda.device_count(&count), "cuDeviceGetCount"));
  Cards cards;
  for (int i = 0; i < std::min(count, kMaxGpus); ++i) {
    TANDEM_TRY(auto card, Card::open(cuda, i));
    cards.push_back(std::move(card));
  }
  return cards;
}

// Copies on every link at once until destroyed.
class Load {
 public:
  Load(const CudaDriver& cuda, const Cards& cards, const std::vector<char>& source) {
    for (const auto& card : cards)
      threads_.emplace_back([this, &cuda, &source, card = card.get()] {
        if (cuda.set_context(card->context()) != 0) return;
        while (!stop_ && cuda.to_device(card->buffer(), source.data(), source.size()) == 0) {
        }
      });
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

std::vector<char> pattern(unsigned seed) {
  std::vector<char> bytes(kBytes);
  std::uint32_t state = seed * 2654435761u + 1;
  for (std::size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    state = state * 1664525u + 1013904223u;
    std::memcpy(&bytes[i], &state, 4);
  }
  return bytes;
}

// One way: fill `from`, wipe `to`, copy, compare. The time is of the copy alone.
Status try_copy(const CudaDriver& cuda, const Card& from, const Card& to, PeerTrial& trial) {
  const std::vector<char> sent = pattern(static_cast<unsigned>(from.device() * 64 + to.device()));
  std::vector<char> received(kBytes, 0);
  TANDEM_TRY_STATUS(Card::check(cuda.set_context(to.context()), "cuCtxSetCurrent"));
  TANDEM_TRY_STATUS(
      Card::check(cuda.to_device(to.buffer(), received.data(), kBytes), "cuMemcpyHtoD"));
  TANDEM_TRY_STATUS(Card::check(cuda.set_context(from.context()), "cuCtxSetCurrent"));
  TANDEM_TRY_STATUS(
      Card::check(cuda.to_device(from.buffer(), sent.data(), kBytes), "cuMemcpyHtoD"));
  TANDEM_TRY_STATUS(Card::check(cuda.synchronize(), "cuCtxSynchronize"));
  const auto start = std::chrono::steady_clock::now();
  TANDEM_TRY_STATUS(
      Card::check(cuda.copy_peer(to.buffer(), to.context(), from.buffer(), from.context(), kBytes),
                  "cuMemcpyPeer"));
  TANDEM_TRY_STATUS(Card::check(cuda.synchronize(), "cuCtxSynchronize"));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  TANDEM_TRY_STATUS(Card::check(cuda.set_context(to.context()), "cuCtxSetCurrent"));
  TANDEM_TRY_STATUS(
      Card::check(cuda.to_host(received.data(), to.buffer(), kBytes), "cuMemcpyDtoH"));
  trial.bytes_correct = trial.bytes_correct && received == sent;
  const double gbps = static_cast<double>(kBytes) / 1e9 / std::max(seconds.count(), 1e-9);
  trial.gbps = trial.gbps == 0 ? gbps : std::min(trial.gbps, gbps);
  return {};
}

PeerTrial try_pair(const CudaDriver& cuda, const Card& a, const Card& b) {
  PeerTrial trial{a.address(), b.address(), false, true, 0, {}};
  int there = 0;
  int back = 0;
  trial.granted = cuda.can_access_peer(&there, a.device(), b.device()) == 0 &&
                  cuda.can_access_peer(&back, b.device(), a.device()) == 0 && there != 0 &&
                  back != 0;
  if (trial.granted) {
    // "Already enabled" (704) is as good as enabled.
    cuda.set_context(a.context());
    cuda.enable_peer(b.context(), 0);
    cuda.set_context(b.context());
    cuda.enable_peer(a.context(), 0);
  }
  for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (const Status status = try_copy(cuda, *from, *to, trial); !status.ok()) {
      trial.bytes_correct = false;
      trial.failure = status.error().to_string();
      return trial;
    }
  }
  return trial;
}

}  // namespace

Result<LoadResult> load_links(const CudaDriver& cuda, const std::function<void()>& while_busy) {
  TANDEM_TRY(const Cards cards, open_cards(cuda));
  {
    const std::vector<char> source(kBytes, 0x5A);
    const Load load(cuda, cards, source);
    std::this_thread::sleep_for(std::chrono::duration<double>(kWarmUpSeconds));
    while_busy();
  }
  LoadResult result;
  for (std::size_t a = 0; a < cards.size(); ++a)
    for (std::size_t b = a + 1; b < cards.size(); ++b)
      result.trials.push_back(try_pair(cuda, *cards[a], *cards[b]));
  return result;
}

}  // namespace tandem
