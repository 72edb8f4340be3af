#include "app/bench/ceiling_survey.h"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <thread>

#include "app/bench/foreign_load.h"
#include "base/clock.h"
#include "base/cores.h"
#include "comm/communicator.h"
#include "device/cpu/host_memory.h"
#include "device/device.h"

namespace tandem {
namespace {

constexpr std::int64_t kSmallFloats = 16;       // 64 bytes
constexpr std::int64_t kLargeFloats = 1 << 20;  // 4 MiB
constexpr int kRounds = 5;
// Rounds of a measurement that scatters: a disturbance that passes is waited for.
constexpr int kMostCeilingRounds = 9;

CpuCeilings measure_cores(const std::vector<int>& cores, InstructionSet set,
                          const CeilingOptions& options) {
  CpuCeilings ceilings;
  // On a thread of its own, which the pool may bind.
  std::thread([&] {
    ThreadPool pool(cores);
    pool.bind_caller();
    ceilings = measure_cpu_ceilings(pool, set, options);
  }).join();
  return ceilings;
}

// One side of a measurement between two ranks.
struct End {
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  HostMemory memory;

  MatrixView message(std::int64_t floats) {
    return {static_cast<float*>(memory.data()), 1, floats, floats};
  }
};

Result<End> open_end(const MachineDevice& device) {
  End end;
  CpuDeviceOptions options;
  options.cores = {device.cores.front()};
  TANDEM_TRY(end.device, create_cpu_device(device.id, options));
  end.stream = end.device->create_stream();
  TANDEM_TRY(end.memory, HostMemory::allocate(kLargeFloats * 4));
  std::fill_n(static_cast<float*>(end.memory.data()), kLargeFloats, 0.0f);
  return end;
}

// Runs both sides on threads of their devices; seconds until the first is done.
Result<double> run_both(std::array<End, 2>& ends, const std::function<Status(int, End&)>& side) {
  std::array<Status, 2> outcome;
  double seconds = 0;
  const auto run = [&](int index) {
    End& end = ends[static_cast<std::size_t>(index)];
    end.device->bind_thread();
    const std::int64_t began = monotonic_ns();
    outcome[static_cast<std::size_t>(index)] = side(index, end);
    if (index == 0) seconds = 1e-9 * static_cast<double>(monotonic_ns() - began);
  };
  std::thread other([&] { run(1); });
  std::thread first([&] { run(0); });
  first.join();
  other.join();
  for (const Status& status : outcome) TANDEM_TRY_STATUS(status);
  return seconds;
}

// Seconds of a message of `floats` there and the same back, the best of several rounds.
Result<double> round_trip(std::array<End, 2>& ends, std::int64_t floats, int count) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    LocalLinkOptions options;
    options.max_bytes = floats * 4;
    const auto there = create_local_link(options);
    const auto back = create_local_link(options);
    TANDEM_TRY(const double seconds, run_both(ends, [&](int index, End& end) -> Status {
                 const MatrixView message = end.message(floats);
                 for (int i = 0; i < count; ++i) {
                   if (index == 0) TANDEM_TRY_STATUS(there->send(*end.stream, message));
                   if (index == 0) TANDEM_TRY_STATUS(back->receive(*end.stream, 0, message));
                   if (index == 1) TANDEM_TRY_STATUS(there->receive(*end.stream, 0, message));
                   if (index == 1) TANDEM_TRY_STATUS(back->send(*end.stream, message));
                 }
                 return {};
               }));
    if (round == 0 || seconds / count < best) best = seconds / count;
  }
  return best;
}

Result<double> all_reduce_seconds(std::array<End, 2>& ends, std::int64_t floats, int count) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    LocalGroupOptions options;
    options.size = 2;
    options.max_bytes = floats * 4;
    auto seats = create_local_group(options);
    TANDEM_TRY(const double seconds, run_both(ends, [&](int index, End& end) -> Status {
                 Communicator& seat = *seats[static_cast<std::size_t>(index)];
                 for (int i = 0; i < count; ++i) {
                   TANDEM_TRY_STATUS(seat.all_reduce_sum(*end.stream, end.message(floats)));
                 }
                 return {};
               }));
    if (round == 0 || seconds / count < best) best = seconds / count;
  }
  return best;
}

Result<MeasuredLink> measure_link(const MachineDevice& a, const MachineDevice& b,
                                  std::int64_t hidden_size) {
  std::array<End, 2> ends;
  TANDEM_TRY(ends[0], open_end(a));
  TANDEM_TRY(ends[1], open_end(b));
  MeasuredLink link{a.id, b.id, 0, 0, 0};
  TANDEM_TRY(const double small, round_trip(ends, kSmallFloats, 500));
  TANDEM_TRY(const double large, round_trip(ends, kLargeFloats, 4));
  TANDEM_TRY(const double reduce,
             all_reduce_seconds(ends, std::clamp<std::int64_t>(hidden_size, 1, kLargeFloats), 500));
  link.latency_us = 1e6 * small / 2;
  link.bandwidth_gbps = 1e-9 * 2 * static_cast<double>(kLargeFloats * 4) / large;
  link.all_reduce_us = 1e6 * reduce;
  return link;
}

DeviceSetCeilings measure_set(const std::vector<std::string>& ids, const SurveyRequest& request,
                              InstructionSet set) {
  CeilingOptions options = request.options;
  options.most_rounds = std::max(options.rounds, kMostCeilingRounds);
  const ForeignLoadWatch watch;
  DeviceSetCeilings ceilings{ids, measure_cores(cores_of(request.devices, ids), set, options)};
  ceilings.is_disturbed = ceilings.rates.spread > kCeilingScatter || watch.so_far().is_disturbing();
  return ceilings;
}

}  // namespace

const CpuCeilings* CeilingSurvey::find(const std::vector<std::string>& devices) const {
  for (const DeviceSetCeilings& set : sets) {
    if (set.devices == devices) return &set.rates;
  }
  return nullptr;
}

double CeilingSurvey::read_gbps(const std::vector<std::string>& devices) const {
  for (const DeviceSetCeilings& set : sets) {
    if (set.devices != devices) continue;
    return set.typical_read_gbps > 0 ? set.typical_read_gbps : set.rates.read_gbps;
  }
  return 0;
}

void CeilingSurvey::merge(const CeilingSurvey& other) {
  for (DeviceSetCeilings& set : sets) {
    for (const DeviceSetCeilings& again : other.sets) {
      if (again.devices != set.devices) continue;
      set.rates.raise(again.rates);
      set.is_disturbed = set.is_disturbed && again.is_disturbed;
    }
  }
  for (MeasuredLink& link : links) {
    for (const MeasuredLink& again : other.links) {
      if (again.a != link.a || again.b != link.b) continue;
      link.latency_us = std::min(link.latency_us, again.latency_us);
      link.all_reduce_us = std::min(link.all_reduce_us, again.all_reduce_us);
      link.bandwidth_gbps = std::max(link.bandwidth_gbps, again.bandwidth_gbps);
    }
  }
}

std::vector<int> cores_of(const std::vector<MachineDevice>& devices,
                          const std::vector<std::string>& ids) {
  std::vector<int> cores;
  for (const MachineDevice& device : devices) {
    if (std::find(ids.begin(), ids.end(), device.id) == ids.end()) continue;
    cores.insert(cores.end(), device.cores.begin(), device.cores.end());
  }
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  return cores;
}

std::vector<std::vector<std::string>> sets_of(const SurveyRequest& request) {
  std::vector<std::vector<std::string>> sets;
  for (const MachineDevice& device : request.devices) sets.push_back({device.id});
  for (const auto& ids : request.sets) {
    if (std::find(sets.begin(), sets.end(), ids) == sets.end()) sets.push_back(ids);
  }
  return sets;
}

Result<CeilingSurvey> survey_ceilings(const SurveyRequest& request) {
  TANDEM_TRY(const InstructionSet set, instruction_set_from_name(request.instruction_set));
  allowed_cores();  // remembers the mask when first asked: not on a thread that is bound already
  CeilingSurvey survey;
  for (const auto& ids : sets_of(request)) {
    DeviceSetCeilings ceilings = measure_set(ids, request, set);
    // Together they reach at least what one of them does, whatever disturbed this measurement.
    for (const std::string& id : ids) {
      if (const CpuCeilings* one = survey.find({id})) ceilings.rates.raise(*one);
    }
    survey.sets.push_back(std::move(ceilings));
  }
  for (std::size_t a = 0; a < request.devices.size(); ++a) {
    for (std::size_t b = a + 1; b < request.devices.size(); ++b) {
      TANDEM_TRY(MeasuredLink link,
                 measure_link(request.devices[a], request.devices[b], request.hidden_size));
      survey.links.push_back(std::move(link));
    }
  }
  return survey;
}

}  // namespace tandem
