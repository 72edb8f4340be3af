#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/gpu_groups.h"
#include "runtime/observed_communicator.h"
#include "runtime/rank.h"
#include "runtime/runtime.h"

namespace tandem {

// Seats the ranks of a plan on their devices: the group of each stage, the links between stages,
// and that by which the last stage shares its hidden states where each has rows of the output
// matrix. What it is made of must live as long as it; the spec as long as its ranks.
class RankSeating {
 public:
  RankSeating(const Plan& plan, const ModelSpec& spec, const RuntimeOptions& options,
              const GpuGroupMaker& make_gpu_group, const GpuLinkMaker& make_gpu_link)
      : plan_(plan),
        spec_(spec),
        options_(options),
        make_gpu_group_(make_gpu_group),
        make_gpu_link_(make_gpu_link) {}

  // devices: one a rank, stage by stage. Blocks while GPUs try the ways between them. Errors of
  // groups and links.
  Result<std::vector<std::unique_ptr<Rank>>> seat(
      std::shared_ptr<const GgufFile> file, std::vector<std::unique_ptr<Device>> devices) const;

 private:
  struct StageWay;
  Result<std::vector<std::unique_ptr<Communicator>>> make_group(
      std::span<const std::unique_ptr<Device>> devices) const;
  Result<StageWay> link_stages(std::span<const std::unique_ptr<Device>> senders,
                               std::span<const std::unique_ptr<Device>> receivers) const;
  std::shared_ptr<StageLink> link_outputs() const;
  std::int64_t message_bytes() const;  // the largest between two ranks
  RankSeat seat_in(const RankPlan& rank, std::int32_t stage) const;

  const Plan& plan_;
  const ModelSpec& spec_;
  const RuntimeOptions& options_;
  const GpuGroupMaker& make_gpu_group_;
  const GpuLinkMaker& make_gpu_link_;
};

// Whether the devices that compute the plan's logits pick the best of them, so that the host need
// not see all: the last stage alone has the output matrix, on GPUs. devices: as in seat().
bool picks_candidates(const Plan& plan, std::span<const std::unique_ptr<Device>> devices);

}  // namespace tandem
