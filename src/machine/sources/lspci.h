#pragma once

#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

// `lspci`, with or without -nn, -v, -vv, -vvv: devices, their links, slots, ACS, BARs, drivers.
// A device cut in the middle keeps what stands before the cut.
Status read_lspci(std::string_view text, SurveyWriter& writer);

// `lspci -t` and `-tv`: what lies below which bridge.
Status read_lspci_tree(std::string_view text, SurveyWriter& writer);

// Bridges know the bus below them: gives every device without a parent the bridge of its bus.
void connect_by_bus(Survey& survey);

}  // namespace tandem
