#include "app/bench/bench_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "app/bench/bench_setups.h"
#include "app/bench/calibration.h"
#include "app/bench/foreign_load.h"
#include "app/bench/memory_watch.h"
#include "app/bench/prediction.h"
#include "app/bench/roofline.h"
#include "app/bench/step_driver.h"
#include "app/open_devices.h"
#include "app/session.h"
#include "base/log.h"
#include "plan/calibration.h"

namespace tandem {
namespace {

constexpr int kMostPasses = 1000;

struct Repetition {
  RunTimes times;
  ForeignLoad load;
};

// One phase of one setup, as it gathers repetitions.
struct PhaseRecord {
  std::int32_t concurrency = 0;  // 0: the prompt
  int passes = 1;
  std::vector<Repetition> repetitions;
};

struct Setup {
  Plan plan;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<StepDriver> driver;
  std::vector<PhaseRecord> phases;  // the prompt, then each concurrency
};

std::vector<const Plan*> plans_of(const std::vector<Setup>& setups) {
  std::vector<const Plan*> plans;
  for (const Setup& setup : setups) plans.push_back(&setup.plan);
  return plans;
}

const Repetition& median_of(const std::vector<const Repetition*>& repetitions) {
  auto sorted = repetitions;
  std::sort(sorted.begin(), sorted.end(),
            [](const Repetition* a, const Repetition* b) { return a->times.wall < b->times.wall; });
  return *sorted[(sorted.size() - 1) / 2];
}

// Of the undisturbed repetitions where those are at least three or all; else of all.
const Repetition& representative(const PhaseRecord& record) {
  std::vector<const Repetition*> all;
  std::vector<const Repetition*> quiet;
  for (const Repetition& repetition : record.repetitions) {
    all.push_back(&repetition);
    if (!repetition.load.is_disturbing()) quiet.push_back(&repetition);
  }
  return median_of(quiet.size() >= 3 ? quiet : all);
}

class BenchSession {
 public:
  explicit BenchSession(const BenchOptions& options) : options_(options) {}

  Result<BenchReport> run() {
    TANDEM_TRY_STATUS(prepare());
    TANDEM_TRY(report_.ceilings, survey());
    if (options_.calibrate) {
      TANDEM_TRY(report_.calibrated, calibrate());
    }
    TANDEM_TRY_STATUS(measure());
    // Again, for ceilings that a disturbance lowered.
    TANDEM_TRY(const CeilingSurvey again, survey());
    report_.ceilings.merge(again);
    note_disturbed_ceilings();
    watch_->report(report_.ceilings);
    TANDEM_TRY_STATUS(make_rows());
    TANDEM_TRY_STATUS(predict_rows());
    return std::move(report_);
  }

 private:
  Status prepare();
  Status find_devices();
  void note_disturbed_ceilings();
  SurveyRequest survey_request() const;
  Result<CeilingSurvey> survey() const { return survey_ceilings(survey_request()); }
  Result<EngineProfile> calibrate() const;
  Status measure();
  Status start(Setup& setup) const;
  Status repeat(Setup& setup, bool is_warm_up) const;
  Status make_rows();
  Status predict_rows();
  Result<BenchPhase> phase_of(const Setup& setup, std::size_t index) const;
  double shared_ceiling_ratio(const std::vector<std::string>& ids, bool reads) const;

  BenchOptions options_;
  OpenedModel model_;
  std::vector<Setup> setups_;
  std::shared_ptr<GpuProbes> gpus_;  // null where no device is one
  std::optional<MemoryWatch> watch_;
  BenchReport report_;
};

Status BenchSession::prepare() {
  TANDEM_TRY(model_, open_model(options_.model.model_path));
  const ModelSpec& spec = model_.spec;
  const std::int64_t context = spec.context_tokens > 0 ? spec.context_tokens : 1 << 20;
  if (options_.prompt_tokens + options_.gen_tokens > context) {
    const auto room = static_cast<std::int32_t>(context) - options_.gen_tokens;
    if (room < 1)
      return invalid_argument("--gen exceeds the model's context", std::to_string(context),
                              std::to_string(options_.gen_tokens));
    report_.notes.push_back(
        fmt::format("prompts of {} tokens: the model's context is {}", room, context));
    options_.prompt_tokens = room;
  }
  TANDEM_TRY_STATUS(find_devices());
  TANDEM_TRY(auto planned, bench_plans(spec, report_.devices, options_,
                                       options_.prompt_tokens + options_.gen_tokens));
  report_.notes.insert(report_.notes.end(), planned.notes.begin(), planned.notes.end());
  for (Plan& plan : planned.plans) {
    Setup setup;
    setup.plan = std::move(plan);
    setup.phases.push_back({});
    for (const std::int32_t concurrency : options_.concurrency) {
      setup.phases.push_back({concurrency, 1, {}});
    }
    setups_.push_back(std::move(setup));
  }
  report_.model = spec.name.empty() ? options_.model.model_path : spec.name;
  report_.quantisation = spec.file_type;
  report_.prompt_tokens = options_.prompt_tokens;
  report_.gen_tokens = options_.gen_tokens;
  return {};
}

Status BenchSession::find_devices() {
  TANDEM_TRY(const auto gpu_layers, gpu_layers_of(options_.model));
  if (gpu_layers) spdlog::warn("-ngl has no effect: --devices says what bench measures");
  TANDEM_TRY(const LocalMachine local, local_machine());
  report_.processor = local.machine.host.cpu.value_or("CPU");
  report_.links = local.machine.links;
  TANDEM_TRY(report_.devices, bench_devices(options_.model, local.machine));
  const auto is_gpu = [](const MachineDevice& device) {
    return device.kind == MachineDeviceKind::kGpu;
  };
  if (std::ranges::none_of(report_.devices, is_gpu)) return {};
  TANDEM_TRY(GpuProbes probes, GpuProbes::open(report_.devices));
  gpus_ = std::make_shared<GpuProbes>(std::move(probes));
  return {};
}

SurveyRequest BenchSession::survey_request() const {
  SurveyRequest request;
  request.devices = report_.devices;
  for (const Setup& setup : setups_) request.sets.push_back(device_ids_of(setup.plan));
  if (options_.calibrate) {
    request.sets.emplace_back();
    for (const MachineDevice& device : report_.devices) request.sets.back().push_back(device.id);
  }
  request.instruction_set = options_.model.instruction_set;
  request.hidden_size = model_.spec.hidden_size;
  request.options.seconds_each = options_.ceiling_seconds;
  request.gpus = gpus_;
  return request;
}

Result<EngineProfile> BenchSession::calibrate() const {
  KernelSurveyRequest request;
  for (const MachineDevice& device : report_.devices) {
    if (device.kind == MachineDeviceKind::kCpu) request.devices.push_back(device);
  }
  request.instruction_set = options_.model.instruction_set;
  request.ceilings = &report_.ceilings;
  request.types = options_.calibrate_types;
  request.seconds_each = std::min(request.seconds_each, options_.ceiling_seconds);
  return calibrated_engine(request);
}

void BenchSession::note_disturbed_ceilings() {
  for (const DeviceSetCeilings& set : report_.ceilings.sets) {
    if (!set.is_disturbed) continue;
    report_.notes.push_back(fmt::format(
        "something else used the cores or the memory while the ceilings of {} were measured (they "
        "scatter by {:.0f} %): they may be too low{}",
        fmt::join(set.devices, " + "), 100 * set.rates.spread,
        set.devices.size() > 1 ? ", and \"a ceiling that devices share\" its doing" : ""));
  }
}

Status BenchSession::start(Setup& setup) const {
  RuntimeOptions runtime_options;
  if (setup.plan.num_ranks() > 1) {
    runtime_options.injected_slowdown = options_.injected_slowdown;
    runtime_options.injected_slowdown_from_step = options_.injected_slowdown_from_step;
    runtime_options.injected_link_delay_us = options_.injected_link_delay_us;
  }
  TANDEM_TRY(setup.runtime, start_runtime(model_, setup.plan, options_.model, runtime_options));
  const DriverWorkload workload{options_.prompt_tokens, options_.gen_tokens,
                                setup.plan.max_sequences};
  setup.driver = std::make_unique<StepDriver>(*setup.runtime, workload);
  return setup.driver->fill();
}

// All phases once. The warm-up finds how many passes make a repetition long enough.
Status BenchSession::repeat(Setup& setup, bool is_warm_up) const {
  for (PhaseRecord& phase : setup.phases) {
    const ForeignLoadWatch watch;
    TANDEM_TRY(RunTimes times, phase.concurrency == 0
                                   ? setup.driver->prefill(phase.passes)
                                   : setup.driver->decode(phase.concurrency, phase.passes));
    if (is_warm_up) {
      const double passes = std::ceil(options_.min_seconds / std::max(times.wall, 1e-6));
      phase.passes = static_cast<int>(std::clamp(passes, 1.0, double{kMostPasses}));
      continue;
    }
    times.work = work_fractions(model_.spec, setup.plan, phase.concurrency > 0);
    phase.repetitions.push_back({std::move(times), watch.so_far()});
  }
  return {};
}

Status BenchSession::measure() {
  TANDEM_TRY(watch_, MemoryWatch::open(survey_request()));
  if (!fit_at_once(plans_of(setups_), report_.devices)) {
    report_.notes.push_back(
        "setups ran one after another: they would not fit into memory beside each other");
    for (Setup& setup : setups_) {
      TANDEM_TRY_STATUS(start(setup));
      for (int i = 0; i <= options_.num_repetitions; ++i) {
        TANDEM_TRY_STATUS(watch_->look());
        TANDEM_TRY_STATUS(repeat(setup, i == 0));
      }
      setup.driver.reset();
      setup.runtime.reset();
    }
    return {};
  }
  for (Setup& setup : setups_) TANDEM_TRY_STATUS(start(setup));
  for (int i = 0; i <= options_.num_repetitions; ++i) {
    for (Setup& setup : setups_) {
      TANDEM_TRY_STATUS(watch_->look());
      TANDEM_TRY_STATUS(repeat(setup, i == 0));
    }
    spdlog::debug("bench: repetition {} of {}", i, options_.num_repetitions);
  }
  for (Setup& setup : setups_) {
    setup.driver.reset();
    setup.runtime.reset();
  }
  return {};
}

double BenchSession::shared_ceiling_ratio(const std::vector<std::string>& ids, bool reads) const {
  double alone = 0;
  for (const std::string& id : ids) {
    const Ceilings* one = report_.ceilings.find({id});
    if (one == nullptr) return 1;
    alone += reads ? one->read_gbps : one->int8_gops;
  }
  const Ceilings* together = report_.ceilings.find(ids);
  if (together == nullptr) return 1;
  const double sum = reads ? together->read_gbps : together->int8_gops;
  return sum > 0 ? std::max(1.0, alone / sum) : 1;
}

Result<BenchPhase> BenchSession::phase_of(const Setup& setup, std::size_t index) const {
  const PhaseRecord& record = setup.phases[index];
  const Repetition& chosen = representative(record);
  const bool is_prompt = record.concurrency == 0;
  const double tokens = is_prompt ? options_.prompt_tokens
                                  : static_cast<double>(record.concurrency) * options_.gen_tokens;
  BenchPhase phase;
  phase.times = chosen.times;
  phase.tokens_per_s = tokens / chosen.times.wall;
  phase.lowest = phase.highest = phase.tokens_per_s;
  std::vector<std::vector<double>> compute;
  for (const Repetition& repetition : record.repetitions) {
    const double rate = tokens / repetition.times.wall;
    phase.lowest = std::min(phase.lowest, rate);
    phase.highest = std::max(phase.highest, rate);
    phase.num_disturbed += repetition.load.is_disturbing() ? 1 : 0;
    compute.emplace_back();
    for (const RankTimes& rank : repetition.times.ranks) compute.back().push_back(rank.compute);
  }
  phase.num_repetitions = static_cast<std::int32_t>(record.repetitions.size());

  const auto ids = device_ids_of(setup.plan);
  const PhaseCost cost = is_prompt
                             ? prompt_cost(model_.spec, setup.plan.kv.type, options_.prompt_tokens)
                             : decode_cost(model_.spec, setup.plan.kv.type, record.concurrency,
                                           options_.prompt_tokens, options_.gen_tokens);
  if (const Ceilings* together = report_.ceilings.find(ids)) {
    phase.ceiling_fraction = ceiling_seconds(cost, *together) / chosen.times.wall;
  }
  phase.intensity = cost.bytes > 0 ? cost.operations / cost.bytes : 0;
  phase.giga_operations = 1e-9 * cost.operations / chosen.times.wall;
  LossContext context;
  const bool reads = report_.ceilings.sets.empty() ||
                     is_bound_by_reading(cost, report_.ceilings.sets.front().rates);
  context.shared_ceiling_ratio = shared_ceiling_ratio(ids, reads);
  context.is_throttled = ids.size() > 1 && find_throttled_rank(compute).has_value();
  const RunTimes one = as_one_device(representative(setups_.front().phases[index]).times);
  phase.account = account_for_losses(one, chosen.times, context);
  return phase;
}

Status BenchSession::make_rows() {
  for (std::size_t c = 0; c < options_.concurrency.size(); ++c) {
    for (const Setup& setup : setups_) {
      BenchRow row;
      row.plan = setup.plan.name;
      row.devices = device_ids_of(setup.plan);
      row.num_devices = setup.plan.num_ranks();
      row.concurrency = options_.concurrency[c];
      TANDEM_TRY(row.prefill, phase_of(setup, 0));
      TANDEM_TRY(row.decode, phase_of(setup, c + 1));
      row.layout = setup.plan;
      report_.rows.push_back(std::move(row));
    }
  }
  return {};
}

// With the constants measured on the way, else the user's of this processor, else typical ones.
Status BenchSession::predict_rows() {
  const Machine machine = measured_machine(report_);
  TANDEM_TRY(const EngineProfile* defaults, find_engine("tandem"));
  EngineProfile engine = *defaults;
  if (report_.calibrated) {
    const bool on_gpu = report_.devices.front().kind == MachineDeviceKind::kGpu;
    (on_gpu ? fit_gpus : fit_to_rows)(model_.spec, report_, *report_.calibrated);
    engine = *report_.calibrated;
    report_.notes.push_back(
        on_gpu ? "predicted with constants that one GPU's row was fitted to, so that this row says "
                 "nothing of them"
               : "predicted from the kernels measured before; of the rows one device's prompt and "
                 "the time between its steps went into it");
  } else if (const auto calibration = user_calibration();
             calibration && calibration->machine.host.cpu == machine.host.cpu) {
    engine = calibration->engine;
    report_.notes.push_back("predicted with the constants of " + calibration->path);
  }
  for (BenchRow& row : report_.rows) {
    const auto predicted =
        predict_rates(model_.spec, row.layout, report_, machine, engine, row.concurrency);
    if (!predicted.ok()) continue;
    row.prefill.predicted_tokens_per_s = predicted->prefill_tokens_per_s;
    row.decode.predicted_tokens_per_s = predicted->decode_tokens_per_s;
  }
  return {};
}

}  // namespace

Result<BenchReport> run_bench(const BenchOptions& options) {
  return BenchSession(options).run();
}

}  // namespace tandem
