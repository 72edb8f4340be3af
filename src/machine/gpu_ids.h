#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace tandem {

// The catalogue's name of the card with these PCI ids (data/gpu_ids.json), or nullopt.
std::optional<std::string> gpu_name_by_id(std::uint16_t vendor_id, std::uint16_t device_id);

}  // namespace tandem
