#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/recording_kind.h"
#include "machine/survey.h"

namespace tandem {

// What one recording says by which two machines can be told apart.
struct MachineMark {
  struct Card {
    std::optional<std::uint16_t> device_id;
    std::optional<std::string> uuid;
    std::string model;  // as the source calls it: "GeForce RTX 3090"; empty: not said
  };
  std::string source;
  bool lists_all_cards = false;  // it would show every NVIDIA card that there is
  std::optional<std::string> host_name;
  std::optional<std::string> host_hash;  // NCCL's
  std::optional<std::string> cpu;
  std::map<PciAddress, Card> cards;  // NVIDIA's only: what shows others differs by source
};

// The mark in `survey`, into which `source` alone was read.
MachineMark mark_of(const Survey& survey, std::string source, RecordingKind kind);

// Error kMalformed ("another machine ...") where `mark` cannot be of the machine that `others`
// describe: another host name, another processor, other cards at the same places, or cards that the
// other source would have listed.
Status expect_same_machine(const MachineMark& mark, const std::vector<MachineMark>& others);

}  // namespace tandem
