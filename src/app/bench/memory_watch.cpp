#include "app/bench/memory_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/cores.h"
#include "base/log.h"
#include "base/median.h"

namespace tandem {

Result<MemoryWatch> MemoryWatch::open(const SurveyRequest& request) {
  TANDEM_TRY(const InstructionSet set, instruction_set_from_name(request.instruction_set));
  allowed_cores();  // remembers the mask when first asked: not on a thread that is bound already
  CeilingOptions options = request.options;
  options.seconds_each = std::min(options.seconds_each, 0.005);
  MemoryWatch watch(set, options);
  for (const auto& ids : sets_of(request)) {
    watch.sets_.push_back({ids, cores_of(request.devices, ids), {}});
  }
  return watch;
}

double MemoryWatch::read_gbps(const std::vector<int>& cores) const {
  double gbps = 0;
  // On a thread of its own, which the pool may bind.
  std::thread([&] {
    ThreadPool pool(cores);
    pool.bind_caller();
    gbps = probe_->read_gbps(pool, instruction_set_);
  }).join();
  return gbps;
}

void MemoryWatch::look() {
  for (Set& set : sets_) {
    set.looks.push_back(read_gbps(set.cores));
    spdlog::debug("bench: {} read {:.1f} GB/s", fmt::join(set.devices, " + "), set.looks.back());
  }
}

double MemoryWatch::read_gbps(const std::vector<std::string>& devices) const {
  for (const Set& set : sets_) {
    if (set.devices == devices) return read_gbps(set.cores);
  }
  return 0;
}

void MemoryWatch::report(CeilingSurvey& survey) const {
  for (const Set& set : sets_) {
    for (DeviceSetCeilings& found : survey.sets) {
      if (found.devices == set.devices) found.typical_read_gbps = median(set.looks);
    }
  }
}

}  // namespace tandem
