#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "device/device.h"

namespace tandem::test {

// What goes wrong on a device, chosen while it runs. Shared by the test and the device's streams.
// Every collective, every transfer and every step's end synchronizes the stream: faults strike
// there. Thread-safe.
class Fault {
 public:
  // The `after`-th synchronize from now on (0: the next) and all later ones return kDeviceFailed.
  void fail_after(int after);
  // That synchronize blocks until release().
  void hang_after(int after);
  void release();
  // Every synchronize takes this much longer.
  void slow_down(std::int64_t microseconds);
  // The `after`-th weight that is loaded fails with kOutOfMemory.
  void fail_load_after(int after);

  // How often a rank's thread bound itself to the device before it loaded anything.
  int num_binds();

  Status on_synchronize();
  Status on_load();
  void on_bind();

 private:
  std::mutex mutex_;
  std::condition_variable released_;
  int fail_in_ = -1;  // -1: never
  int hang_in_ = -1;
  int fail_load_in_ = -1;
  std::int64_t slow_us_ = 0;
  bool has_loaded_ = false;
  int num_binds_ = 0;
};

// `inner` with the fault between it and its rank.
std::unique_ptr<Device> make_faulty(std::unique_ptr<Device> inner, std::shared_ptr<Fault> fault);

}  // namespace tandem::test
