#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fleet/backend.h"

namespace tandem {

// What becomes of a model's processes.
struct ModelEvents {
  std::function<void()> on_ready;                         // one replica takes requests, or again
  std::function<void()> on_all_down;                      // none does, and they are started again
  std::function<void(const std::string& why)> on_failed;  // all are given up, and gone
  std::function<void()> on_stopped;                       // all are gone, as was asked
  std::function<void()> on_change;                        // a replica came or went
};

// The replicas of one model, from the first process to the last. On the loop; events come from
// there, never from within a call.
class ModelRuntime {
 public:
  using MakeSettings = std::function<WorkerSettings(std::size_t replica, PlacedReplica placed)>;

  // log_file: empty for standard error.
  ModelRuntime(EventLoop& loop, std::string name, const std::string& log_file, ModelEvents events);
  ~ModelRuntime();

  // Starts a process for each of `placed`. Only where is_stopped().
  void start(std::vector<PlacedReplica> placed, MakeSettings make_settings);
  // Ends them all; requests that are still at work there break.
  void stop();
  // Replaces the replicas by others one after the other: each takes no further request, ends those
  // it has within drain_timeout_ms, and is followed by its successor before the next one's turn.
  void roll(std::vector<PlacedReplica> placed, MakeSettings make_settings,
            std::int64_t drain_timeout_ms);

  bool is_stopped() const { return phase_ == Phase::kStopped; }
  // The last giving up was for a device's failure.
  bool was_lost_by_device() const { return was_lost_by_device_; }
  bool is_rolling() const { return !to_roll_.empty(); }
  const std::vector<std::shared_ptr<Replica>>& replicas() const { return replicas_; }
  WorkerLog& log() { return log_; }

 private:
  enum class Phase : std::uint8_t { kStopped, kStarting, kRunning, kStopping };
  std::shared_ptr<Replica> make_replica(std::size_t index, PlacedReplica placed);
  void changed();
  void update();
  void update_running();
  void give_up(const std::string& why);
  void roll_next();
  void replace(std::size_t index);

  EventLoop& loop_;
  std::string name_;
  WorkerLog log_;
  ModelEvents events_;
  MakeSettings make_settings_;
  Phase phase_ = Phase::kStopped;
  std::vector<std::shared_ptr<Replica>> replicas_;
  bool is_down_ = false;  // on_all_down was told
  std::string failure_;   // why they are being stopped; empty: it was asked for
  bool was_lost_by_device_ = false;
  std::vector<PlacedReplica> to_roll_;  // what replicas will be; empty: nothing is rolled
  std::size_t roll_index_ = 0;
  std::int64_t drain_timeout_ms_ = 0;
  EventLoop::Timer drain_timer_;
  bool is_update_due_ = false;
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);  // for tasks on their way
};

}  // namespace tandem
