#include "runtime/rank_seating.h"

#include <algorithm>

#include "comm/staged/staged.h"

namespace tandem {
namespace {

// Waits inside groups and links end by the watch in Runtime::wait(), which knows whether ranks
// still make progress; their own deadline only backs it up (a stage may rightly wait long for a
// large prefill of the stage before).
constexpr std::int64_t kBackstopUs = 600'000'000;

bool has_output_on_every_stage(const Plan& plan) {
  return plan.stages.size() > 1 && plan.stages.front().ranks.front().shard.has_output;
}

}  // namespace

// Between two stages. Where it takes memory of the host alone, ranks on other devices stage what
// they send and receive.
struct RankSeating::StageWay {
  std::shared_ptr<StageLink> link;
  bool takes_host_memory_alone = true;
  std::shared_ptr<StageLink> for_rank_on(const Device& device) const {
    const bool stages = link && takes_host_memory_alone && !device.info().is_host_memory;
    return stages ? make_staged(link, kBackstopUs) : link;
  }
};

bool picks_candidates(const Plan& plan, std::span<const std::unique_ptr<Device>> devices) {
  const auto last_ranks = devices.last(plan.stages.back().ranks.size());
  return !has_output_on_every_stage(plan) &&
         std::ranges::all_of(last_ranks, [](const auto& device) {
           return device->info().kind == DeviceKind::kCuda;
         });
}

// From the last stage to all others, where they hold rows of the output matrix too. Each of them
// may leave as many outputs open as there are stages; with one slot more the last never waits.
std::shared_ptr<StageLink> RankSeating::link_outputs() const {
  const auto num_stages = static_cast<int>(plan_.stages.size());
  if (!has_output_on_every_stage(plan_)) return nullptr;
  LocalLinkOptions options;
  options.num_receivers = num_stages - 1;
  options.num_slots = num_stages + 1;
  options.max_bytes = std::int64_t{plan_.max_output_rows} * spec_.hidden_size *
                      static_cast<std::int64_t>(sizeof(float));
  options.deadline_us = kBackstopUs;
  options.injected_delay_us = options_.injected_link_delay_us;
  return create_local_link(options);
}

// The seats of one stage's ranks. GPUs exchange among themselves where they can; else ranks are
// threads that meet in host memory.
Result<std::vector<std::unique_ptr<Communicator>>> RankSeating::make_group(
    std::span<const std::unique_ptr<Device>> devices) const {
  LocalGroupOptions options;
  options.size = static_cast<int>(devices.size());
  options.max_bytes = message_bytes();
  options.deadline_us = kBackstopUs;
  options.algorithm = options_.reduce_algorithm;
  options.injected_delay_us = options_.injected_link_delay_us;
  const bool all_gpus = std::ranges::all_of(
      devices, [](const auto& device) { return device->info().kind == DeviceKind::kCuda; });
  if (all_gpus && devices.size() > 1 && make_gpu_group_) {
    std::vector<Device*> gpus;
    for (const auto& device : devices) gpus.push_back(device.get());
    auto seats = make_gpu_group_(gpus, options);
    if (seats.ok() || seats.error().code != ErrorCode::kUnsupported) return seats;
  }
  auto seats = create_local_group(options);
  for (std::size_t r = 0; r < devices.size(); ++r) {
    if (devices[r]->info().is_host_memory) continue;
    seats[r] = make_staged(std::move(seats[r]), kBackstopUs);
  }
  return seats;
}

Result<RankSeating::StageWay> RankSeating::link_stages(
    std::span<const std::unique_ptr<Device>> senders,
    std::span<const std::unique_ptr<Device>> receivers) const {
  LocalLinkOptions options;
  options.num_receivers = static_cast<int>(receivers.size());
  options.max_bytes = message_bytes();
  options.deadline_us = kBackstopUs;
  options.injected_delay_us = options_.injected_link_delay_us;
  std::vector<Device*> to;
  for (const auto& device : receivers) to.push_back(device.get());
  const auto is_gpu = [](const Device* device) { return device->info().kind == DeviceKind::kCuda; };
  const bool any_gpu = is_gpu(senders.front().get()) || std::ranges::any_of(to, is_gpu);
  if (any_gpu && make_gpu_link_) {
    auto link = make_gpu_link_(*senders.front(), to, options);
    if (link.ok()) return StageWay{*std::move(link), false};
    if (link.error().code != ErrorCode::kUnsupported) return link.error();
  }
  return StageWay{create_local_link(options)};
}

std::int64_t RankSeating::message_bytes() const {
  return std::int64_t{plan_.micro_batch_tokens} * spec_.hidden_size *
         static_cast<std::int64_t>(sizeof(float));
}

// What of a seat does not depend on its neighbours.
RankSeat RankSeating::seat_in(const RankPlan& rank, std::int32_t stage) const {
  const auto num_stages = static_cast<std::int32_t>(plan_.stages.size());
  RankSeat seat;
  seat.spec = &spec_;
  seat.plan = rank;
  seat.kv = plan_.kv;
  seat.stage = stage;
  seat.max_tokens = plan_.micro_batch_tokens;
  seat.max_output_rows = plan_.max_output_rows;
  seat.context_tokens = plan_.context_tokens;
  seat.trace = options_.trace;
  seat.output_receiver = stage + 1 < num_stages ? stage : -1;
  seat.max_open_outputs = num_stages;
  return seat;
}

Result<std::vector<std::unique_ptr<Rank>>> RankSeating::seat(
    std::shared_ptr<const GgufFile> file, std::vector<std::unique_ptr<Device>> devices) const {
  std::vector<std::unique_ptr<Rank>> ranks;
  std::size_t next_device = 0;
  StageWay from_previous;
  const std::shared_ptr<StageLink> output_link = link_outputs();
  for (std::size_t s = 0; s < plan_.stages.size(); ++s) {
    const StagePlan& stage = plan_.stages[s];
    TANDEM_TRY(auto seats, make_group(std::span(devices).subspan(next_device, stage.ranks.size())));
    StageWay to_next;
    if (s + 1 < plan_.stages.size()) {
      const auto from_here = std::span(devices).subspan(next_device);
      TANDEM_TRY(to_next,
                 link_stages(from_here, from_here.subspan(stage.ranks.size(),
                                                          plan_.stages[s + 1].ranks.size())));
    }
    for (std::size_t r = 0; r < stage.ranks.size(); ++r, ++next_device) {
      RankSeat seat = seat_in(stage.ranks[r], static_cast<std::int32_t>(s));
      seat.file = file;
      seat.device = std::move(devices[next_device]);
      const bool slowed = next_device < options_.injected_slowdown.size();
      seat.group = std::make_unique<ObservedCommunicator>(
          std::move(seats[r]), slowed ? options_.injected_slowdown[next_device] : 0.0,
          options_.injected_slowdown_from_step);
      seat.from_previous = from_previous.for_rank_on(*seat.device);
      seat.to_next = to_next.for_rank_on(*seat.device);
      // Ranks are threads that meet in host memory.
      const bool stages_outputs = output_link && !seat.device->info().is_host_memory;
      seat.output_link = stages_outputs ? make_staged(output_link, kBackstopUs) : output_link;
      ranks.push_back(std::make_unique<Rank>(std::move(seat)));
    }
    from_previous = to_next;
  }
  return ranks;
}

}  // namespace tandem
