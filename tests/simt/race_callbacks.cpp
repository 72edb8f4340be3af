// What the compiler calls at every access of code that is compiled with -fsanitize=thread. The
// program is linked without ThreadSanitizer: these stand in its place and hand on what kernels do,
// so that kernels need not be written in any special way to be watched.
#include <cstddef>
#include <cstdint>

#include "simt/race_checker.h"

namespace {

using simt::RaceChecker;

inline void note(const volatile void* address, std::size_t bytes, RaceChecker::Access kind,
                 const void* place) {
  RaceChecker* checker = simt::checker_of_kernel;
  if (checker != nullptr) checker->access(const_cast<const void*>(address), bytes, kind, place);
}

}  // namespace

// The names are the interface of the instrumentation (gcc/sanitizer.def, and compiler-rt's
// tsan_interface.h and tsan_interface_atomic.h).
extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define TANDEM_PLACE __builtin_return_address(0)
#define TANDEM_PLAIN(bytes)                                          \
  void __tsan_read##bytes(void* address) {                           \
    note(address, bytes, RaceChecker::Access::kRead, TANDEM_PLACE);  \
  }                                                                  \
  void __tsan_write##bytes(void* address) {                          \
    note(address, bytes, RaceChecker::Access::kWrite, TANDEM_PLACE); \
  }                                                                  \
  void __tsan_unaligned_read##bytes(void* address) {                 \
    note(address, bytes, RaceChecker::Access::kRead, TANDEM_PLACE);  \
  }                                                                  \
  void __tsan_unaligned_write##bytes(void* address) {                \
    note(address, bytes, RaceChecker::Access::kWrite, TANDEM_PLACE); \
  }
TANDEM_PLAIN(1)
TANDEM_PLAIN(2)
TANDEM_PLAIN(4)
TANDEM_PLAIN(8)
TANDEM_PLAIN(16)

void __tsan_read_range(void* address, std::size_t bytes) {
  note(address, bytes, RaceChecker::Access::kRead, TANDEM_PLACE);
}
void __tsan_write_range(void* address, std::size_t bytes) {
  note(address, bytes, RaceChecker::Access::kWrite, TANDEM_PLACE);
}

// Atomic accesses are done here, all in one order: no weaker one can be seen on one host thread.
#define TANDEM_UPDATE(bits, type, name, builtin)                                   \
  type __tsan_atomic##bits##_##name(volatile void* address, type value, int) {     \
    note(address, sizeof(type), RaceChecker::Access::kAtomicWrite, TANDEM_PLACE);  \
    return builtin(static_cast<volatile type*>(address), value, __ATOMIC_SEQ_CST); \
  }
#define TANDEM_EXCHANGE(bits, type, name)                                                    \
  bool __tsan_atomic##bits##_compare_exchange_##name(volatile void* address, void* expected, \
                                                     type value, int, int) {                 \
    note(address, sizeof(type), RaceChecker::Access::kAtomicWrite, TANDEM_PLACE);            \
    return __atomic_compare_exchange_n(static_cast<volatile type*>(address),                 \
                                       static_cast<type*>(expected), value, false,           \
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                  \
  }
#define TANDEM_ATOMIC(bits, type)                                                         \
  type __tsan_atomic##bits##_load(const volatile void* address, int) {                    \
    note(address, sizeof(type), RaceChecker::Access::kAtomicRead, TANDEM_PLACE);          \
    return __atomic_load_n(static_cast<const volatile type*>(address), __ATOMIC_SEQ_CST); \
  }                                                                                       \
  void __tsan_atomic##bits##_store(volatile void* address, type value, int) {             \
    note(address, sizeof(type), RaceChecker::Access::kAtomicWrite, TANDEM_PLACE);         \
    __atomic_store_n(static_cast<volatile type*>(address), value, __ATOMIC_SEQ_CST);      \
  }                                                                                       \
  TANDEM_UPDATE(bits, type, exchange, __atomic_exchange_n)                                \
  TANDEM_UPDATE(bits, type, fetch_add, __atomic_fetch_add)                                \
  TANDEM_UPDATE(bits, type, fetch_sub, __atomic_fetch_sub)                                \
  TANDEM_UPDATE(bits, type, fetch_and, __atomic_fetch_and)                                \
  TANDEM_UPDATE(bits, type, fetch_or, __atomic_fetch_or)                                  \
  TANDEM_UPDATE(bits, type, fetch_xor, __atomic_fetch_xor)                                \
  TANDEM_EXCHANGE(bits, type, strong)                                                     \
  TANDEM_EXCHANGE(bits, type, weak)
TANDEM_ATOMIC(8, std::uint8_t)
TANDEM_ATOMIC(16, std::uint16_t)
TANDEM_ATOMIC(32, std::uint32_t)
TANDEM_ATOMIC(64, std::uint64_t)

void __tsan_atomic_thread_fence(int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"
