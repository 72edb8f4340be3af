#include "app/bench/kernel_survey.h"

#include <algorithm>
#include <array>

#include "app/bench/kernel_lab.h"
#include "app/bench/layer_ops.h"
#include "app/bench/memory_watch.h"
#include "base/log.h"
#include "base/median.h"
#include "device/cpu/host_memory.h"

namespace tandem {
namespace {

// Single tokens and batches of decoding, micro-batches of stages, prompts. Kernels change with the
// number of rows, so that no two of these could stand for the rest.
constexpr std::array<double, 11> kRows = {1, 2, 4, 6, 8, 16, 32, 48, 64, 128, 512};
// The first of them are measured with weights from memory as well: one row reads, eight compute.
constexpr std::size_t kFromMemory = 5;
// Of weights of one type on each device: more than caches hold.
constexpr std::int64_t kWeightBytes = std::int64_t{128} << 20;

// How many rows a reduction sums up: of a decode step, and of a prompt.
constexpr std::int64_t kFewRows = 1;
constexpr std::int64_t kManyRows = 128;
// Products between two reductions, about what half of a 1B model's layer has on one of two devices.
constexpr int kProductsBetween = 2;

class Survey {
 public:
  Survey(const KernelSurveyRequest& request, KernelLab lab, MemoryWatch watch)
      : request_(request), lab_(std::move(lab)), watch_(std::move(watch)) {
    for (const MachineDevice& device : request.devices) all_.push_back(device.id);
    rates_ = *request.ceilings->find({all_.front()});
  }

  Status run(BackendProfile& cpu) {
    TANDEM_TRY_STATUS(measure_layers(cpu));
    std::vector<Measured> kernels;
    for (const ElementTypeTraits& traits : all_element_types()) {
      const auto& wanted = request_.types;
      const bool is_wanted =
          wanted.empty() || std::find(wanted.begin(), wanted.end(), traits.type) != wanted.end();
      if (traits.type == ElementType::kI32 || !is_wanted) continue;
      const Status loaded = lab_.load_weights(traits.type, weight_bytes());
      if (!loaded.ok() && loaded.error().code == ErrorCode::kUnsupported) continue;
      TANDEM_TRY_STATUS(loaded);
      TANDEM_TRY(Measured kernel, measure_kernel(traits.type));
      kernels.push_back(std::move(kernel));
    }
    cpu.kernels = costs_of(kernels);
    TANDEM_TRY_STATUS(measure_waits(cpu));
    lab_.drop_weights();
    return {};
  }

 private:
  // What each of so many devices reads, beside rounds of something else.
  struct Reading {
    std::vector<std::vector<double>> alone;
    std::vector<std::vector<double>> together;
    std::size_t num_devices = 1;

    // 1e9 bytes a second.
    double typical() const {
      const double one = typical_read_gbps(alone);
      return together.empty()
                 ? one
                 : std::min(one, typical_read_gbps(together) / static_cast<double>(num_devices));
    }
  };
  void look(bool together, Reading& reading) const {
    reading.num_devices = all_.size();
    reading.alone.push_back(watch_.look_at(std::vector<std::string>{all_.front()}));
    if (together && all_.size() > 1) reading.together.push_back(watch_.look_at(all_));
  }

  std::size_t count(bool together) const { return together ? lab_.num_devices() : 1; }

  std::int64_t weight_bytes() const {
    const auto devices = static_cast<std::int64_t>(lab_.num_devices());
    return std::min(kWeightBytes, available_host_memory_bytes() / 4 / devices);
  }

  // The median of the rounds, as `bench` reports medians.
  Result<double> typical(bool together, const KernelLab::Work& work) {
    std::vector<double> rounds;
    for (int round = 0; round < request_.rounds; ++round) {
      TANDEM_TRY(const double once, lab_.seconds_of(count(together), request_.seconds_each, work));
      rounds.push_back(once);
    }
    return median(std::move(rounds));
  }

  // Seconds of arithmetic with each of kRows, weights lying in a cache.
  Result<std::vector<double>> measure_arithmetic(bool together) {
    std::vector<double> seconds;
    for (const double rows : kRows) {
      TANDEM_TRY(const double middle, typical(together, [rows](KernelLab::Bench& bench) {
                   return multiply_cached(bench, static_cast<std::int64_t>(rows));
                 }));
      seconds.push_back(middle);
    }
    return seconds;
  }

  // The first kFromMemory of kRows with weights from memory, and reading beside them: medians.
  Result<MemoryTimes> measure_memory(ElementType type, bool together,
                                     const std::vector<double>& arithmetic) {
    Reading reading;
    std::array<std::vector<double>, kFromMemory> seconds;
    for (int round = 0; round < request_.rounds; ++round) {
      look(together, reading);
      for (std::size_t i = 0; i < kFromMemory; ++i) {
        const auto rows = static_cast<std::int64_t>(kRows[i]);
        const auto work = [rows](KernelLab::Bench& bench) { return multiply(bench, rows); };
        TANDEM_TRY(const double once,
                   lab_.seconds_of(count(together), request_.seconds_each, work));
        seconds[i].push_back(once);
      }
    }
    MemoryTimes times;
    times.bytes =
        static_cast<double>(KernelLab::kWidth * bytes_of(type, KernelLab::kColumns).value_or(0));
    times.read_gbps = reading.typical();
    for (std::size_t i = 0; i < kFromMemory; ++i) {
      times.rows.push_back({median(std::move(seconds[i])), arithmetic[i]});
    }
    return times;
  }

  // One type of weights: with weights in a cache for each of kRows, and from memory.
  struct Measured {
    ElementType type = ElementType::kF32;
    std::vector<double> alone;
    std::vector<double> together;
    MemoryTimes one;
    MemoryTimes all;
  };

  Result<Measured> measure_kernel(ElementType type) {
    const bool several = lab_.num_devices() > 1;
    Measured out;
    out.type = type;
    TANDEM_TRY(out.alone, measure_arithmetic(false));
    TANDEM_TRY(out.together, several ? measure_arithmetic(true) : Result(out.alone));
    TANDEM_TRY(out.one, measure_memory(type, false, out.alone));
    TANDEM_TRY(out.all, several ? measure_memory(type, true, out.together) : Result(out.one));
    log(out);
    return out;
  }

  // Reading and arithmetic overlap by the hardware, so that one figure, the median of all types,
  // holds for each: of one type alone it is a small difference of measurements.
  std::vector<KernelCosts> costs_of(const std::vector<Measured>& kernels) const {
    std::vector<double> overlaps;
    for (const Measured& kernel : kernels) overlaps.push_back(overlap_of(kernel.one));
    const double overlap = median(std::move(overlaps));
    constexpr double kWeights = KernelLab::kWidth * KernelLab::kColumns;
    std::vector<KernelCosts> out;
    for (const Measured& kernel : kernels) {
      KernelCosts costs{kernel.type,
                        read_share(kernel.one, overlap),
                        read_share(kernel.all, overlap),
                        overlap,
                        {}};
      const double rows_a_second = 1e9 *
                                   processor_product_rate(kernel.type, rates_.int8_gops,
                                                          rates_.bf16_gflops, rates_.float_gflops) /
                                   (2 * kWeights);
      for (std::size_t i = 0; i < kRows.size(); ++i) {
        costs.rows.push_back(
            {kRows[i], kernel.alone[i] * rows_a_second, kernel.together[i] * rows_a_second});
      }
      out.push_back(std::move(costs));
    }
    return out;
  }

  static void log(const Measured& kernel) {
    constexpr double kWeights = KernelLab::kWidth * KernelLab::kColumns;
    const auto ps = [](double seconds) { return 1e12 * seconds / kWeights; };
    for (std::size_t i = 0; i < kFromMemory; ++i) {
      spdlog::debug(
          "bench: {}, {} rows, ps a weight: {:.1f} ({:.1f} together), in a cache {:.1f} ({:.1f})",
          traits_of(kernel.type).name, kRows[i], ps(kernel.one.rows[i].seconds),
          ps(kernel.all.rows[i].seconds), ps(kernel.alone[i]), ps(kernel.together[i]));
    }
  }

  // The median of the rounds, and of reading beside them.
  struct Timed {
    double seconds = 0;
    double read_gbps = 0;
  };
  Result<Timed> timed(bool together, const KernelLab::Work& work) {
    std::vector<double> seconds;
    Reading reading;
    for (int round = 0; round < request_.rounds; ++round) {
      look(together, reading);
      TANDEM_TRY(const double once, lab_.seconds_of(count(together), request_.seconds_each, work));
      seconds.push_back(once);
    }
    return Timed{median(std::move(seconds)), reading.typical()};
  }

  Status measure_layers(BackendProfile& cpu);
  Status measure_attention(BackendProfile& cpu);
  Status measure_waits(BackendProfile& cpu);
  Result<double> wait_share(std::int64_t rows);

  const KernelSurveyRequest& request_;
  KernelLab lab_;
  MemoryWatch watch_;
  std::vector<std::string> all_;  // devices
  Ceilings rates_;                // of the first device
};

// The ops between products: one token's by the layer, a prompt's by the floats that it passes.
Status Survey::measure_layers(BackendProfile& cpu) {
  TANDEM_TRY_STATUS(lab_.allocate_cache(layer_ops::kCacheBytes));
  TANDEM_TRY(const Timed token, timed(false, [](KernelLab::Bench& bench) {
               layer_ops::hidden_ops(bench, 1);
               layer_ops::width_ops(bench, 1);
               return Status{};
             }));
  constexpr double kTokens = KernelLab::kMostRows;
  TANDEM_TRY(const Timed hidden, timed(false, [](KernelLab::Bench& bench) {
               layer_ops::hidden_ops(bench, KernelLab::kMostRows);
               return Status{};
             }));
  TANDEM_TRY(const Timed width, timed(false, [](KernelLab::Bench& bench) {
               layer_ops::width_ops(bench, KernelLab::kMostRows);
               return Status{};
             }));
  const auto floats_of = [](const Timed& time) {
    return 1e9 * time.read_gbps * time.seconds / (4 * kTokens);
  };
  cpu.layer_us = 1e6 * token.seconds;
  cpu.prefill_layer_us = 0;
  cpu.activation_hidden = floats_of(hidden) / layer_ops::kHidden;
  cpu.activation_width =
      floats_of(width) / (layer_ops::kFeedForward + layer_ops::kHeads * layer_ops::kHeadDim);
  return measure_attention(cpu);
}

Status Survey::measure_attention(BackendProfile& cpu) {
  const auto decode = [](KernelLab::Bench& bench) {
    layer_ops::attention(bench, 1, layer_ops::kContext);
    return Status{};
  };
  TANDEM_TRY(const Timed alone, timed(false, decode));
  TANDEM_TRY(const Timed together, timed(true, decode));
  const double bytes = layer_ops::kLayerCacheBytes;
  cpu.kv_efficiency = 1e-9 * bytes / alone.seconds / alone.read_gbps;
  cpu.shared_kv_efficiency = 1e-9 * bytes / together.seconds / together.read_gbps;

  // Chunks of two lengths that look at the same number of positions: what they have in common is
  // the packing of keys and values, what differs the scores.
  constexpr std::int32_t kSeen = KernelLab::kMostRows;
  constexpr std::int32_t kShort = 32;
  TANDEM_TRY(const Timed whole, timed(false, [](KernelLab::Bench& bench) {
               layer_ops::attention(bench, kSeen, kSeen);
               return Status{};
             }));
  TANDEM_TRY(const Timed chunk, timed(false, [](KernelLab::Bench& bench) {
               layer_ops::attention(bench, kShort, kSeen);
               return Status{};
             }));
  constexpr double kOperations = 4.0 * layer_ops::kHeads * layer_ops::kHeadDim;
  constexpr double kWholePairs = 0.5 * kSeen * kSeen;
  constexpr double kChunkPairs = kShort * (kSeen - 0.5 * kShort);
  const double rate =
      kOperations * (kWholePairs - kChunkPairs) / std::max(1e-9, whole.seconds - chunk.seconds);
  cpu.attention_efficiency = rate / (1e9 * rates_.float_gflops);
  const double packing = std::max(0.0, chunk.seconds - kOperations * kChunkPairs / rate);
  cpu.attention_context_ops = packing * 1e9 * rates_.float_gflops /
                              (kSeen * 2.0 * layer_ops::kKvHeads * layer_ops::kHeadDim);
  return {};
}

// What ranks that reduce after every few products take more than ranks that never wait, beside the
// reduction itself.
Result<double> Survey::wait_share(std::int64_t rows) {
  const auto work = [rows](bool reduces) {
    return [rows, reduces](KernelLab::Bench& bench) -> Status {
      for (int i = 0; i < kProductsBetween; ++i) TANDEM_TRY_STATUS(multiply(bench, rows));
      if (!reduces) return {};
      return bench.seat->all_reduce_sum(*bench.stream,
                                        dense(bench.y->floats(), rows, KernelLab::kColumns));
    };
  };
  const auto reduction = [rows](KernelLab::Bench& bench) {
    return bench.seat->all_reduce_sum(*bench.stream,
                                      dense(bench.y->floats(), rows, KernelLab::kColumns));
  };
  std::vector<double> shares;
  // Longer and more often than other measurements: it is a small difference of two.
  for (int round = 0; round < 2 * request_.rounds; ++round) {
    const double seconds = 3 * request_.seconds_each;
    TANDEM_TRY(const double apart, lab_.seconds_of(count(true), seconds, work(false)));
    TANDEM_TRY(const double in_step, lab_.seconds_of(count(true), seconds, work(true)));
    TANDEM_TRY(const double reducing,
               lab_.seconds_of(count(true), request_.seconds_each, reduction));
    shares.push_back(std::max(0.0, (in_step - reducing - apart) / apart));
  }
  return median(std::move(shares));
}

Status Survey::measure_waits(BackendProfile& cpu) {
  cpu.group_wait = cpu.prefill_group_wait = 0;
  if (lab_.num_devices() < 2 || cpu.kernels.empty()) return {};
  const ElementType type = find_kernel(cpu.kernels, ElementType::kQ4_K)->type;
  TANDEM_TRY_STATUS(lab_.load_weights(type, weight_bytes()));
  TANDEM_TRY(cpu.group_wait, wait_share(kFewRows));
  TANDEM_TRY(cpu.prefill_group_wait, wait_share(kManyRows));
  return {};
}

}  // namespace

Status survey_kernels(const KernelSurveyRequest& request, BackendProfile& cpu) {
  TANDEM_TRY(KernelLab lab, KernelLab::open(request.devices, request.instruction_set));
  SurveyRequest reading;
  reading.devices = request.devices;
  reading.instruction_set = request.instruction_set;
  reading.options.seconds_each = request.seconds_each;
  reading.sets.emplace_back();
  for (const MachineDevice& device : request.devices) reading.sets.back().push_back(device.id);
  TANDEM_TRY(MemoryWatch watch, MemoryWatch::open(reading));
  return Survey(request, std::move(lab), std::move(watch)).run(cpu);
}

}  // namespace tandem
