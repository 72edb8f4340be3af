#include "machine/peer_ladder.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <vector>

namespace tandem {
namespace {

std::string way(const CudaCard& from, const CudaCard& to) {
  return from.address().to_string() + " -> " + to.address().to_string();
}

std::vector<unsigned char> pattern(unsigned seed, std::size_t bytes) {
  std::vector<unsigned char> result(bytes);
  std::uint32_t state = seed * 2654435761u + 1;
  for (unsigned char& byte : result) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<unsigned char>(state >> 24);
  }
  return result;
}

Error arrived_changed(const CudaCard& from, const CudaCard& to,
                      const std::vector<unsigned char>& sent,
                      const std::vector<unsigned char>& received, bool direct) {
  std::size_t first = sent.size();
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (sent[i] == received[i]) continue;
    first = std::min(first, i);
    ++wrong;
  }
  return Error{ErrorCode::kDeviceFailed,
               std::to_string(wrong) + " of " + std::to_string(sent.size()) +
                   " bytes arrived changed, the first at byte " + std::to_string(first),
               std::string(direct ? "direct" : "staged") + " copy " + way(from, to),
               std::to_string(sent[first]), std::to_string(received[first])};
}

// One way: fill `from`, wipe `to`, copy, compare. The time is of the copy alone.
Status try_copy(const CudaDriver& cuda, const CudaCard& from, const CudaCard& to, std::size_t bytes,
                PeerTrial& trial) {
  const auto sent = pattern(static_cast<unsigned>(from.device() * 64 + to.device()), bytes);
  std::vector<unsigned char> received(bytes, 0);
  TANDEM_TRY_STATUS(to.put(0, received.data(), bytes));
  TANDEM_TRY_STATUS(from.put(0, sent.data(), bytes));
  TANDEM_TRY_STATUS(from.finish());
  const auto start = std::chrono::steady_clock::now();
  TANDEM_TRY_STATUS(
      cuda.check(cuda.copy_peer(to.buffer(), to.context(), from.buffer(), from.context(), bytes),
                 "cuMemcpyPeer"));
  TANDEM_TRY_STATUS(from.finish());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  TANDEM_TRY_STATUS(to.get(received.data(), 0, bytes));
  const double gbps = static_cast<double>(bytes) / 1e9 / std::max(seconds.count(), 1e-9);
  trial.gbps = trial.gbps == 0 ? gbps : std::min(trial.gbps, gbps);
  if (sent != received) return arrived_changed(from, to, sent, received, trial.granted);
  return {};
}

// Whole numbers below 2^18: their sums are exact in float32, whatever adds them.
std::vector<float> addends(int device, unsigned count) {
  std::vector<float> values(count);
  for (unsigned i = 0; i < count; ++i)
    values[i] =
        static_cast<float>(((i + 1) * 2654435761u + static_cast<unsigned>(device) * 40503u) >> 14);
  return values;
}

// Where a card's vectors lie in its buffer, each of `count` values.
struct Vectors {
  std::size_t bytes;  // of one vector
  std::size_t own() const { return 0; }
  std::size_t sums() const { return bytes; }
  std::size_t received() const { return 2 * bytes; }
};

// Each card adds one half of the vector and stores it on both: loads and stores across the link.
Status sum_across(const CudaCard& a, const CudaCard& b, unsigned count, const Vectors& at) {
  const unsigned half = count / 2;
  const auto launch = [&](const CudaCard& card, const CudaCard& other, unsigned first,
                          unsigned values) {
    return card.launch_sum(card.buffer() + at.own(), other.buffer() + at.own(),
                           card.buffer() + at.sums(), other.buffer() + at.sums(), first, values);
  };
  TANDEM_TRY_STATUS(launch(a, b, 0, half));
  return launch(b, a, half, count - half);
}

// Without access: the driver carries each card's vector to the other, and both add all of it.
Status sum_through_host(const CudaDriver& cuda, const CudaCard& a, const CudaCard& b,
                        unsigned count, const Vectors& at) {
  for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    TANDEM_TRY_STATUS(from->finish());
    TANDEM_TRY_STATUS(
        cuda.check(cuda.copy_peer(to->buffer() + at.received(), to->context(),
                                  from->buffer() + at.own(), from->context(), at.bytes),
                   "cuMemcpyPeer"));
    TANDEM_TRY_STATUS(from->finish());
  }
  for (const CudaCard* card : {&a, &b})
    TANDEM_TRY_STATUS(card->launch_sum(card->buffer() + at.own(), card->buffer() + at.received(),
                                       card->buffer() + at.sums(), card->buffer() + at.sums(), 0,
                                       count));
  return {};
}

Status check_sums(const CudaCard& card, const std::vector<float>& expected, const Vectors& at,
                  bool direct) {
  std::vector<float> sums(expected.size());
  TANDEM_TRY_STATUS(card.get(sums.data(), at.sums(), at.bytes));
  if (std::memcmp(sums.data(), expected.data(), at.bytes) == 0) return {};
  std::size_t first = expected.size();
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (std::memcmp(&sums[i], &expected[i], sizeof(float)) == 0) continue;
    first = std::min(first, i);
    ++wrong;
  }
  return Error{
      ErrorCode::kDeviceFailed,
      std::to_string(wrong) + " of " + std::to_string(sums.size()) +
          " sums are wrong, the first at " + std::to_string(first),
      std::string(direct ? "direct" : "staged") + " reduction on " + card.address().to_string(),
      std::to_string(expected[first]), std::to_string(sums[first])};
}

Status try_reduction(const CudaDriver& cuda, const CudaCard& a, const CudaCard& b, unsigned count,
                     bool direct) {
  const Vectors at{count * sizeof(float)};
  std::vector<float> expected(count, 0);
  const std::vector<unsigned char> nowhere_a_sum(at.bytes, 0xFF);  // NaN
  for (const CudaCard* card : {&a, &b}) {
    const std::vector<float> own = addends(card->device(), count);
    for (unsigned i = 0; i < count; ++i) expected[i] += own[i];
    TANDEM_TRY_STATUS(card->put(at.own(), own.data(), at.bytes));
    TANDEM_TRY_STATUS(card->put(at.sums(), nowhere_a_sum.data(), at.bytes));
    TANDEM_TRY_STATUS(card->finish());
  }
  TANDEM_TRY_STATUS(direct ? sum_across(a, b, count, at) : sum_through_host(cuda, a, b, count, at));
  TANDEM_TRY_STATUS(a.finish());
  TANDEM_TRY_STATUS(b.finish());
  TANDEM_TRY_STATUS(check_sums(a, expected, at, direct));
  return check_sums(b, expected, at, direct);
}

bool grants_both_ways(const CudaDriver& cuda, const CudaCard& a, const CudaCard& b) {
  int there = 0;
  int back = 0;
  return cuda.can_access_peer(&there, a.device(), b.device()) == 0 &&
         cuda.can_access_peer(&back, b.device(), a.device()) == 0 && there != 0 && back != 0;
}

// While it lives, the two cards may reach each other. A card has few such connections (8 at a time
// by CUDA's programming guide), so they are given back pair by pair.
class PeerAccess {
 public:
  PeerAccess(const CudaDriver& cuda, const CudaCard& a, const CudaCard& b)
      : cuda_(cuda), a_(a), b_(b) {}
  PeerAccess(const PeerAccess&) = delete;
  PeerAccess& operator=(const PeerAccess&) = delete;
  ~PeerAccess() {
    for (const auto& [card, other] : {std::pair(&a_, &b_), std::pair(&b_, &a_)})
      if (card->make_current().ok()) cuda_.disable_peer(other->context());
  }
  Status enable() {
    constexpr int kAlreadyEnabled = 704;  // CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
    for (const auto& [card, other] : {std::pair(&a_, &b_), std::pair(&b_, &a_)}) {
      TANDEM_TRY_STATUS(card->make_current());
      if (const int code = cuda_.enable_peer(other->context(), 0); code != kAlreadyEnabled)
        TANDEM_TRY_STATUS(cuda_.check(code, "cuCtxEnablePeerAccess"));
    }
    return {};
  }

 private:
  const CudaDriver& cuda_;
  const CudaCard& a_;
  const CudaCard& b_;
};

Status climb(const CudaDriver& cuda, const CudaCard& a, const CudaCard& b, const LadderSizes& sizes,
             const std::function<void(const std::string&)>& on_step, PeerTrial& trial) {
  on_step("ask for peer access " + way(a, b));
  trial.granted = grants_both_ways(cuda, a, b);
  PeerAccess access(cuda, a, b);
  if (trial.granted) TANDEM_TRY_STATUS(access.enable());
  for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    on_step((trial.granted ? "direct copy " : "staged copy ") + way(*from, *to));
    TANDEM_TRY_STATUS(try_copy(cuda, *from, *to, sizes.copy_bytes, trial));
  }
  trial.copied = true;
  trial.not_summed = !a.no_kernel().empty() ? a.no_kernel() : b.no_kernel();
  if (!trial.not_summed.empty()) return {};
  on_step((trial.granted ? "direct reduction " : "staged reduction ") + way(a, b));
  TANDEM_TRY_STATUS(try_reduction(cuda, a, b, sizes.sum_values, trial.granted));
  trial.summed = true;
  return {};
}

}  // namespace

std::size_t LadderSizes::bytes_per_card() const {
  return std::max(copy_bytes, std::size_t{3} * sum_values * sizeof(float));
}

PeerTrial climb_peer_ladder(const CudaDriver& cuda, const CudaCard& a, const CudaCard& b,
                            const LadderSizes& sizes,
                            const std::function<void(const std::string&)>& on_step) {
  PeerTrial trial;
  trial.a = a.address();
  trial.b = b.address();
  if (const Status status = climb(cuda, a, b, sizes, on_step, trial); !status.ok())
    trial.failure = status.error().to_string();
  return trial;
}

}  // namespace tandem
