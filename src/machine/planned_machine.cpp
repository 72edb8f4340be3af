#include "machine/planned_machine.h"

#include <algorithm>

#include "base/units.h"
#include "machine/assemble.h"
#include "machine/cpu_catalogue.h"
#include "machine/gpu_catalogue.h"

namespace tandem {
namespace {

// What a board with this CPU usually gives each of `count` cards.
BuildSlot usual_slot(const CpuFamily* family, int count) {
  if (family == nullptr) return {};
  const int each = family->graphics_lanes / std::max(count, 1);
  return {each >= 16 ? 16 : each >= 8 ? 8 : 4, family->generation, false, std::nullopt};
}

}  // namespace

Result<Survey> plan_machine(const BuildSpec& build) {
  Survey survey;
  survey.is_planned = true;
  survey.build = build;
  survey.host.host.cpu = build.cpu;
  survey.host.board = build.board;
  if (build.memory_gib)
    survey.host.host.memory_bytes = static_cast<std::int64_t>(*build.memory_gib * kGiB);
  const CpuFamily* family = build.cpu ? find_cpu_family(*build.cpu) : nullptr;
  std::size_t place = 0;
  for (const BuildGpu& wanted : build.gpus) {
    const GpuModel* model = find_gpu_model(wanted.name);
    if (model == nullptr)
      return not_found("no such GPU in the catalogue; add it to ~/.config/tandem/gpus.json",
                       "'" + wanted.name + "'");
    for (int i = 0; i < wanted.count; ++i, ++place) {
      const bool listed = place < build.slots.size();
      const BuildSlot slot = listed ? build.slots[place] : usual_slot(family, build.num_gpus());
      GpuFacts gpu;
      gpu.name = model->name;
      if (!model->memory_bytes.empty()) gpu.memory_bytes = model->memory_bytes.front();
      gpu.link.max_width = model->pcie_width;
      gpu.link.width = std::min(model->pcie_width.value_or(16), slot.width);
      gpu.card_generation = model->pcie_generation;
      gpu.slot_generation =
          family != nullptr ? std::min(slot.generation, family->generation) : slot.generation;
      gpu.link.max_generation = std::min(model->pcie_generation.value_or(4), *gpu.slot_generation);
      gpu.power.limit_w = wanted.power_limit_w ? wanted.power_limit_w : model->power_w;
      gpu.power.default_w = model->power_w;
      survey.gpus.push_back(std::move(gpu));
    }
  }
  TANDEM_TRY_STATUS(assemble_machine(survey));
  return survey;
}

}  // namespace tandem
