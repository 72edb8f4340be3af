#include <algorithm>

#include "machine/cpu_catalogue.h"
#include "machine/findings/findings.h"
#include "machine/gpu_catalogue.h"
#include "machine/power_budget.h"

namespace tandem {
namespace {

// What a machine of `count` cards needs at least; the advice of build guides put into numbers.
constexpr int kFansPerTwoCards =
    3;  // two cards want 6 case fans with front and rear, three more for each further pair
constexpr double kMemoryGib = 64;

int thickness(const BuildGpu& gpu) {
  if (gpu.slots) return *gpu.slots;
  const GpuModel* model = find_gpu_model(gpu.name);
  return model != nullptr ? model->slots.value_or(2) : 2;
}

int slots_needed(const BuildSpec& build) {
  int slots = 0;
  for (const BuildGpu& gpu : build.gpus) slots += thickness(gpu) * gpu.count;
  return slots;
}

bool all_liquid(const BuildSpec& build) {
  return !build.gpus.empty() &&
         std::all_of(build.gpus.begin(), build.gpus.end(),
                     [](const BuildGpu& gpu) { return gpu.liquid_cooled == true; });
}

// build-slots: places on the board and thickness of the cards against the case.
void find_space(const BuildSpec& build, std::vector<std::string>& lacks,
                std::vector<Finding>& findings) {
  const int cards = build.num_gpus();
  if (!build.slots.empty() && static_cast<int>(build.slots.size()) < cards) {
    lacks.push_back(std::to_string(cards) + " long slots (the board has " +
                    std::to_string(build.slots.size()) + ")");
    findings.push_back(
        {"build-slots",
         Severity::kError,
         "board",
         "The board has " + std::to_string(build.slots.size()) + " slots for " +
             std::to_string(cards) + " cards",
         {},
         "Choose a board with more slots, or bifurcation risers if it can split a slot.",
         "certain"});
  }
  const int needed = slots_needed(build);
  if (!build.chassis.slots || build.chassis.open_frame == true || *build.chassis.slots >= needed)
    return;
  lacks.push_back(std::to_string(needed) + " slots of space (the case has " +
                  std::to_string(*build.chassis.slots) + ")");
  findings.push_back(
      {"build-space",
       Severity::kError,
       "case",
       "The cards are " + std::to_string(needed) + " slots thick together, the case has " +
           std::to_string(*build.chassis.slots),
       {},
       "Take a larger case, thinner or liquid-cooled cards, or an open frame with risers.",
       "likely"});
}

struct PlacedCard {
  int position = 0;
  int thickness = 2;
  bool liquid = false;
  std::string label;
};

// The cards whose slots say where they lie, from the CPU on.
std::vector<PlacedCard> placed_cards(const Survey& survey) {
  const BuildSpec& build = *survey.build;
  std::vector<PlacedCard> cards;
  int index = 0;
  for (const BuildGpu& gpu : build.gpus)
    for (int i = 0; i < gpu.count; ++i, ++index) {
      const auto place = static_cast<std::size_t>(index);
      if (place >= build.slots.size() || !build.slots[place].position) continue;
      cards.push_back({*build.slots[place].position, thickness(gpu), gpu.liquid_cooled == true,
                       survey.gpu_label(index)});
    }
  std::sort(cards.begin(), cards.end(),
            [](const PlacedCard& a, const PlacedCard& b) { return a.position < b.position; });
  return cards;
}

// build-spacing: does each card fit above the next one, and does it get air?
void find_spacing(const Survey& survey, std::vector<std::string>& lacks,
                  std::vector<Finding>& findings) {
  constexpr int kNoEnd = 1000;  // no case is named
  if (survey.build->chassis.open_frame == true) return;
  const auto cards = placed_cards(survey);
  for (std::size_t i = 0; i < cards.size(); ++i) {
    const PlacedCard& card = cards[i];
    const bool last = i + 1 == cards.size();
    const int end = last ? survey.build->chassis.slots.value_or(kNoEnd) + 1 : cards[i + 1].position;
    const int room = end - card.position;
    const bool collides = room < card.thickness;
    const bool stifled = !last && room == card.thickness && !card.liquid;
    if (!collides && !stifled) continue;
    const std::string below = last ? "the case's last slot" : "the next card";
    if (collides)
      lacks.push_back("room for " + card.label + " (" + std::to_string(card.thickness) +
                      " slots thick, " + below + " leaves " + std::to_string(room) + ")");
    findings.push_back(
        {"build-spacing",
         collides ? Severity::kError : Severity::kWarning,
         card.label,
         collides ? "The card is thicker than the room up to " + below
                  : "No free slot between this card's fans and the next card",
         {"at slot " + std::to_string(card.position) + ", " + std::to_string(card.thickness) +
          " slots thick; " + std::to_string(room) + " slots up to " + below},
         collides ? "Choose slots further apart, a thinner or liquid-cooled card, or a riser."
                  : "Leave a slot free where you can, take cards with blower fans, or lower the "
                    "power limit: open coolers choke each other.",
         collides ? "certain" : "likely"});
  }
}

// build-lanes: what each slot gives against the cards and the CPU.
void find_lanes(const Survey& survey, std::vector<std::string>& lacks,
                std::vector<Finding>& findings) {
  const BuildSpec& build = *survey.build;
  const CpuFamily* family = build.cpu ? find_cpu_family(*build.cpu) : nullptr;
  if (family == nullptr && build.cpu)
    findings.push_back({"build-cpu-unknown",
                        Severity::kInfo,
                        *build.cpu,
                        "This CPU is not in the catalogue: its lanes are not judged",
                        {},
                        "Add it to ~/.config/tandem/cpus.json.",
                        "certain"});
  int on_cpu = 0;
  for (std::size_t i = 0; i < build.slots.size() && i < survey.gpus.size(); ++i)
    on_cpu += build.slots[i].from_chipset ? 0 : build.slots[i].width;
  if (family != nullptr && on_cpu > family->lanes) {
    lacks.push_back(std::to_string(on_cpu) + " CPU lanes (" + family->family + " has " +
                    std::to_string(family->lanes) + ")");
    findings.push_back({"build-lanes",
                        Severity::kWarning,
                        "board",
                        "The slots named need " + std::to_string(on_cpu) + " lanes, the CPU has " +
                            std::to_string(family->lanes),
                        {family->source},
                        "The board will run some slots narrower than written: look into its manual "
                        "for the split with all slots in use.",
                        "certain"});
  }
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    const std::size_t place = static_cast<std::size_t>(i);
    const bool chipset = place < build.slots.size() && build.slots[place].from_chipset;
    const int width = gpu.link.width.value_or(16);
    if (chipset)
      findings.push_back({"behind-chipset",
                          Severity::kWarning,
                          survey.gpu_label(i),
                          "This slot hangs on the chipset",
                          {"slot " + std::to_string(i + 1) + ": x" + std::to_string(width)},
                          "Choose a board that wires its long slots to the CPU.",
                          "certain"});
    if (width >= gpu.link.max_width.value_or(16)) continue;
    findings.push_back(
        {"pcie-width",
         width >= 8 ? Severity::kInfo : Severity::kWarning,
         survey.gpu_label(i),
         "Link will run at x" + std::to_string(width) + " of x" +
             std::to_string(gpu.link.max_width.value_or(16)) + ": the slot gives no more",
         {link_text(gpu.link.max_generation, gpu.link.width) + ", " +
          gbps_text(pcie_gbps(gpu.link.max_generation.value_or(4), width)) + " each way"},
         width >= 8 ? "Good enough for two cards with a layer split; tensor parallel feels it."
                    : "Too little for tensor parallel: choose a board or CPU with more lanes.",
         "certain"});
  }
}

// build-cooling: fans or liquid for the heat.
void find_cooling(const BuildSpec& build, std::vector<std::string>& lacks,
                  std::vector<Finding>& findings) {
  const int cards = build.num_gpus();
  if (cards < 2 || all_liquid(build) || build.chassis.open_frame == true || !build.chassis.fans)
    return;
  const int wanted = std::max(6, kFansPerTwoCards * ((cards + 1) / 2) + 3);
  if (*build.chassis.fans >= wanted) return;
  lacks.push_back(std::to_string(wanted) + " case fans (there are " +
                  std::to_string(*build.chassis.fans) + ")");
  findings.push_back(
      {"build-cooling",
       Severity::kWarning,
       "case",
       std::to_string(*build.chassis.fans) + " fans for " + std::to_string(cards) +
           " air-cooled cards",
       {},
       "Plan " + std::to_string(wanted) +
           " fans, or liquid cooling, or an open frame; leave a slot free between cards.",
       "possible"});
}

void find_memory(const Survey& survey, std::vector<std::string>& lacks) {
  std::int64_t bytes = 0;
  for (const GpuFacts& gpu : survey.gpus) bytes += gpu.memory_bytes.value_or(0);
  const double wanted = std::max(kMemoryGib, static_cast<double>(bytes) / (1 << 30));
  if (survey.build->memory_gib && *survey.build->memory_gib < wanted)
    lacks.push_back(number_text(wanted) + " GiB of memory (there are " +
                    number_text(*survey.build->memory_gib) + ")");
}

void find_supply(const Survey& survey, std::vector<std::string>& lacks) {
  const auto budget = power_budget(survey);
  if (!budget) return;
  const double wanted = needed_supply_w(*budget);
  if (budget->supply_w < wanted)
    lacks.push_back("a supply of " + number_text(wanted) + " W (" +
                    (budget->supply_w > 0 ? "there are " + number_text(budget->supply_w) + " W"
                                          : std::string("none is named")) +
                    ")");
}

}  // namespace

// build-slots, build-space, build-spacing, build-lanes, build-cooling, build-minimum, and
// behind-chipset and pcie-width for slots that do not exist yet.
void find_build(const Survey& survey, std::vector<Finding>& findings) {
  if (!survey.build || !survey.is_planned) return;
  std::vector<std::string> lacks;
  find_space(*survey.build, lacks, findings);
  find_spacing(survey, lacks, findings);
  find_lanes(survey, lacks, findings);
  find_cooling(*survey.build, lacks, findings);
  find_memory(survey, lacks);
  find_supply(survey, lacks);
  if (lacks.empty()) return;
  findings.push_back(
      {"build-minimum", Severity::kInfo, "machine",
       "Against the minimum for " + std::to_string(survey.build->num_gpus()) + " cards this lacks:",
       lacks, "Each item has a finding of its own where it does harm.", "certain"});
}

}  // namespace tandem
