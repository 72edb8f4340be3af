#pragma once

#include <string>
#include <string_view>

namespace tandem {

// Pieces of Prometheus' text exposition format, version 0.0.4.

// The lines before a metric's values. type: "counter", "gauge" or "histogram".
void append_metric_head(std::string& out, std::string_view name, std::string_view type,
                        std::string_view help);
// A label's value, escaped as the format demands.
std::string metric_label(std::string_view text);

}  // namespace tandem
