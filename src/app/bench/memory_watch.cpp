#include "app/bench/memory_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/cores.h"
#include "base/log.h"

namespace tandem {

Result<MemoryWatch> MemoryWatch::open(const SurveyRequest& request) {
  TANDEM_TRY(const InstructionSet set, instruction_set_from_name(request.instruction_set));
  allowed_cores();  // remembers the mask when first asked: not on a thread that is bound already
  CeilingOptions options = request.options;
  options.seconds_each = std::min(options.seconds_each, 0.005);
  MemoryWatch watch(set, options, request.gpus);
  for (const auto& ids : sets_of(request)) {
    watch.sets_.push_back({ids, cores_of(request.devices, ids), {}, {}});
    if (watch.sets_.back().cores.empty() || watch.probe_) continue;
    watch.probe_ = std::make_unique<ReadProbe>(options);
  }
  return watch;
}

std::vector<double> MemoryWatch::look_at(const std::vector<int>& cores) const {
  std::vector<double> gbps;
  // On a thread of its own, which the pool may bind.
  std::thread([&] {
    ThreadPool pool(cores);
    pool.bind_caller();
    gbps = probe_->look(pool, instruction_set_);
  }).join();
  return gbps;
}

Status MemoryWatch::look() {
  for (Set& set : sets_) {
    const std::string names = fmt::format("{}", fmt::join(set.devices, " + "));
    if (!set.cores.empty()) {
      set.looks.push_back(look_at(set.cores));
      spdlog::debug("bench: {} read {:.1f} GB/s", names, fmt::join(set.looks.back(), ", "));
    }
    if (!gpus_ || !gpus_->has_any(set.devices)) continue;
    TANDEM_TRY(auto gbps, gpus_->look(set.devices, options_.seconds_each));
    spdlog::debug("bench: the GPUs of {} read {:.1f} GB/s", names, fmt::join(gbps, ", "));
    set.gpu_looks.push_back(std::move(gbps));
  }
  return {};
}

std::vector<double> MemoryWatch::look_at(const std::vector<std::string>& devices) const {
  for (const Set& set : sets_) {
    if (set.devices == devices) return look_at(set.cores);
  }
  return {};
}

void MemoryWatch::report(CeilingSurvey& survey) const {
  for (const Set& set : sets_) {
    for (DeviceSetCeilings& found : survey.sets) {
      if (found.devices == set.devices) {
        found.typical_read_gbps = typical_read_gbps(set.looks) + typical_read_gbps(set.gpu_looks);
      }
    }
  }
}

}  // namespace tandem
