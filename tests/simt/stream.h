#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "simt/machine.h"

namespace simt {

// One piece of work of a stream: a kernel, a copy, an event. `kind` tells pieces apart where a
// graph is updated. The result is an error in words, or empty.
struct Operation {
  const void* kind = nullptr;
  std::function<std::string()> work;
  bool counts_as_kernel = false;
};

struct Graph {
  std::vector<Operation> operations;
};
struct GraphExec {
  std::shared_ptr<const std::vector<Operation>> operations;
};

// How far a recorded event has come. Shared with the work that completes it.
struct EventState {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::chrono::steady_clock::time_point time;
  cudaError_t error = cudaSuccess;

  void finish(cudaError_t result);
  cudaError_t wait();
};
struct Event {
  std::shared_ptr<EventState> state;  // of the last record; null: never recorded
  std::shared_ptr<Graph> capture;     // recorded in a capture
};

// An in-order queue with a host thread that works it off.
struct Stream {
  explicit Stream(int device);
  ~Stream() { finish(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Works off what was pushed and takes no more. Called once, by the owner.
  void finish();

  cudaError_t push(Operation operation);
  // Blocks until everything pushed so far is done; the device's sticky error.
  cudaError_t synchronize();
  bool idle();

  const int device;
  std::shared_ptr<Graph> capture;  // set while the stream captures
  bool capture_broken = false;

 private:
  void run();
  void execute(const Operation& operation);

  std::mutex mutex_;
  std::condition_variable more_;
  std::condition_variable less_;
  std::deque<Operation> queue_;
  std::int64_t pushed_ = 0;
  std::int64_t finished_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

cudaError_t sticky_error(int device);

}  // namespace simt
