#include "simt/race_checker.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace simt {
namespace {

constexpr int kThreadShift = 22;
constexpr std::uint64_t kAtomicBit = 1u << 21;
constexpr std::uint64_t kClockMask = kAtomicBit - 1;

std::uint32_t barriers_of(std::uint64_t stamp) {
  return static_cast<std::uint32_t>(stamp >> 32);
}
unsigned thread_of(std::uint64_t stamp) {
  return static_cast<unsigned>(stamp >> kThreadShift) & 0x3ff;
}
bool is_atomic(std::uint64_t stamp) {
  return (stamp & kAtomicBit) != 0;
}
// Whether two accesses are one warp's, of one block.
bool is_of_one_warp(std::uint64_t a, std::uint64_t b) {
  return thread_of(a) / 32 == thread_of(b) / 32;
}

// This host thread's thread_local variables of the program, among which static __shared__ arrays
// are.
RaceChecker::Range thread_locals() {
  RaceChecker::Range found;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
          *static_cast<RaceChecker::Range*>(result) = {
              reinterpret_cast<std::uintptr_t>(info->dlpi_tls_data), info->dlpi_phdr[i].p_memsz};
        }
        return 1;  // the first object is the program
      },
      &found);
  return found;
}

const char* const kImage = reinterpret_cast<const char*>(&thread_locals);

// Code as 32 bits, which is enough for one program, and as what `addr2line -ifCe PROGRAM` takes.
std::uint32_t short_place(const void* place) {
  return static_cast<std::uint32_t>(static_cast<const char*>(place) - kImage);
}
std::string offset_of(std::uint32_t place) {
  const char* address = kImage + static_cast<std::int32_t>(place);
  Dl_info info;
  if (dladdr(address, &info) == 0) return "?";
  char offset[32];
  std::snprintf(offset, sizeof(offset), "%#tx", address - static_cast<const char*>(info.dli_fbase));
  return offset;
}

}  // namespace

bool RaceChecker::enabled() {
#ifdef TANDEM_SIMT_RACES
  static const bool wanted = [] {
    const char* text = std::getenv("TANDEM_SIMT_RACES");
    return text == nullptr || std::strcmp(text, "0") != 0;
  }();
  return wanted;
#else
  return false;
#endif
}

void RaceChecker::start_grid(const dim3& block) {
  block_ = block;
  report_.clear();
  if (clocks_ == nullptr) {
    clocks_ = std::make_unique<WarpClocks[]>(32);
    thread_locals_ = thread_locals();
  }
  first_of_grid_ = barriers_ + 1;
}

void RaceChecker::start_block(Range dynamic_shared) {
  dynamic_shared_ = dynamic_shared;
  first_of_block_ = ++barriers_;
  forget_clocks();
}

void RaceChecker::run_as(unsigned index, Range stack) {
  thread_ = index;
  stack_ = stack;
}

void RaceChecker::pass_block_barrier() {
  ++barriers_;
  forget_clocks();
}

// A clock begins at 1, and nobody knows of another's.
void RaceChecker::forget_clocks() {
  const unsigned warps = (block_.x * block_.y * block_.z + 31) / 32;
  std::memset(clocks_.get(), 0, warps * sizeof(WarpClocks));
  for (unsigned warp = 0; warp < warps; ++warp) {
    for (int lane = 0; lane < 32; ++lane) clocks_[warp].known[lane][lane] = 1;
  }
}

void RaceChecker::pass_warp_barrier(unsigned warp, std::uint32_t lanes) {
  auto& known = clocks_[warp].known;
  std::uint32_t all[32] = {};
  for (int lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    for (int of = 0; of < 32; ++of) all[of] = std::max(all[of], known[lane][of]);
  }
  for (int lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) == 0) continue;
    std::memcpy(known[lane], all, sizeof(all));
    ++known[lane][lane];  // what it does from now on, nobody has been told of
  }
}

RaceChecker::Page& RaceChecker::page_of(std::uintptr_t address) {
  const std::uintptr_t number = address / kPageBytes;
  Recent& recent = recent_[number % kRecent];
  if (recent.number != number) {
    auto& page = pages_[number];
    if (page == nullptr) page = std::make_unique<Page>();
    recent = {number, page.get()};
  }
  return *recent.page;
}

RaceChecker::Stamp RaceChecker::stamp(bool atomic) const {
  const std::uint32_t clock = clocks_[thread_ / 32].known[thread_ % 32][thread_ % 32];
  return Stamp{barriers_} << 32 | Stamp{thread_} << kThreadShift | (atomic ? kAtomicBit : 0) |
         (clock & kClockMask);
}

bool RaceChecker::is_shared(std::uintptr_t address) const {
  return dynamic_shared_.has(address) || thread_locals_.has(address);
}

// Whether what `before` stands for comes before all that this thread does from now on.
bool RaceChecker::is_ordered(Stamp before, bool shared) const {
  const std::uint32_t barriers = barriers_of(before);
  if (barriers < first_of_block_) return shared || barriers < first_of_grid_;
  if (barriers < barriers_ || thread_of(before) == thread_) return true;
  if (thread_of(before) / 32 != thread_ / 32) return false;
  return clocks_[thread_ / 32].known[thread_ % 32][thread_of(before) % 32] >= (before & kClockMask);
}

void RaceChecker::split(Page& page, std::size_t word) {
  if (page.bytes == nullptr) page.bytes = std::make_unique<Cell[]>(kPageBytes);
  std::fill_n(page.bytes.get() + word * kWordBytes, kWordBytes, page.words[word]);
  page.is_split[word] = true;
}

template <typename F>
void RaceChecker::for_cells(Touch& touch, std::size_t bytes, F&& f) {
  const std::uintptr_t end = touch.address + bytes;
  while (touch.address < end) {
    Page& page = page_of(touch.address);
    const std::size_t at = touch.address % kPageBytes;
    const std::size_t word = at / kWordBytes;
    const bool is_whole = at % kWordBytes == 0 && end - touch.address >= kWordBytes;
    if (!is_whole && !page.is_split[word]) split(page, word);
    f(page.is_split[word] ? page.bytes[at] : page.words[word]);
    touch.address += page.is_split[word] ? 1 : kWordBytes;
  }
}

bool RaceChecker::races(Stamp before, const Touch& touch) const {
  if (before == 0 || (is_atomic(before) && is_atomic(touch.stamp))) return false;
  return !is_ordered(before, touch.shared);
}

void RaceChecker::access(const void* address, std::size_t bytes, Access kind, const void* place) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  if (stack_.has(begin)) return;
  const bool reads = kind == Access::kRead || kind == Access::kAtomicRead;
  Touch touch;
  touch.stamp = stamp(kind == Access::kAtomicRead || kind == Access::kAtomicWrite);
  touch.place = short_place(place);
  touch.shared = is_shared(begin);
  touch.address = begin;
  for_cells(touch, bytes, [&](Cell& cell) {
    if (reads) {
      if (cell.read != touch.stamp) read(cell, touch);
    } else if (cell.write != touch.stamp || cell.read != 0) {
      write(cell, touch);
    }
  });
}

void RaceChecker::read(Cell& cell, const Touch& touch) {
  if (races(cell.write, touch)) {
    conflict(cell.write, cell.write_place, Did::kWrote, Did::kRead, touch);
  }
  const std::uint32_t first = touch.shared ? first_of_block_ : first_of_grid_;
  const auto is_of_another_block = [&](Stamp before) {
    return barriers_of(before) >= first && barriers_of(before) < first_of_block_;
  };
  if (barriers_of(cell.read) < first) {
    cell.same_warp = cell.another_warp = 0;
  } else if (is_of_another_block(cell.read) || !is_of_one_warp(cell.read, touch.stamp)) {
    if (!is_of_another_block(cell.another_warp)) cell.another_warp = cell.read;
    cell.same_warp = 0;
  } else if (thread_of(cell.read) != thread_) {
    cell.same_warp = cell.read;
  }
  cell.read = touch.stamp;
  cell.read_place = touch.place;
}

void RaceChecker::write(Cell& cell, const Touch& touch) {
  if (races(cell.write, touch)) {
    conflict(cell.write, cell.write_place, Did::kWrote, Did::kWrote, touch);
  }
  for (const Stamp before : {cell.read, cell.same_warp, cell.another_warp}) {
    if (races(before, touch)) conflict(before, cell.read_place, Did::kRead, Did::kWrote, touch);
  }
  cell = {touch.stamp, 0, 0, 0, touch.place, 0};
}

std::uint64_t RaceChecker::begin_copy(const void* to, std::size_t bytes, const void* place) {
  access(to, bytes, Access::kWrite, place);
  return stamp(false);
}

// Since it began nobody may have touched the bytes, not even behind a barrier.
void RaceChecker::end_copy(const void* to, std::size_t bytes, std::uint64_t begun,
                           const void* place) {
  const auto begin = reinterpret_cast<std::uintptr_t>(to);
  Touch touch{stamp(false), short_place(place), is_shared(begin), begin};
  for_cells(touch, bytes, [&](Cell& cell) {
    if (cell.write != begun) {
      conflict(cell.write, cell.write_place, Did::kWrote, Did::kWrote, touch);
    }
    if (cell.read != 0) conflict(cell.read, cell.read_place, Did::kRead, Did::kWrote, touch);
    cell = {touch.stamp, 0, 0, 0, touch.place, 0};
  });
}

std::string RaceChecker::describe(Stamp stamp) const {
  const unsigned i = thread_of(stamp);
  std::string text = "thread (" + std::to_string(i % block_.x) + "," +
                     std::to_string(i / block_.x % block_.y) + "," +
                     std::to_string(i / (block_.x * block_.y)) + ")";
  if (barriers_of(stamp) < first_of_block_) text += " of another block";
  return text;
}

void RaceChecker::conflict(Stamp before, std::uint32_t place_before, Did before_did, Did did,
                           const Touch& touch) {
  if (!report_.empty()) return;
  std::string where = touch.shared ? "a __shared__ variable" : "global memory";
  if (dynamic_shared_.has(touch.address)) {
    where = "shared memory at byte " + std::to_string(touch.address - dynamic_shared_.begin);
  }
  report_ = "race on " + where + ": " + describe(touch.stamp) +
            (did == Did::kWrote ? " writes" : " reads") + " (" + offset_of(touch.place) +
            ") what " + describe(before) + (before_did == Did::kWrote ? " wrote (" : " read (") +
            offset_of(place_before) + "), and no barrier is between them";
}

}  // namespace simt
