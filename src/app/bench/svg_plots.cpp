#include "app/bench/svg_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "plan/page_parts.h"

namespace tandem {
namespace {

constexpr double kWidth = 460;
constexpr double kHeight = 300;
constexpr double kLeft = 52;
constexpr double kRight = 16;
constexpr double kTop = 14;
constexpr double kBottom = 42;

const BenchPhase& phase_of(const BenchRow& row, bool is_prompt) {
  return is_prompt ? row.prefill : row.decode;
}

std::string split_of(const BenchRow& row) {
  const auto& ranks = row.decode.times.ranks;
  const std::int32_t stages = ranks.back().stage + 1;
  if (stages == 1) return "tensor";
  return stages == row.num_devices ? "pipeline" : "hybrid";
}

// Maps values to the plot's area.
struct Axes {
  double x_low, x_high, y_low, y_high;

  double x(double value) const {
    return kLeft + (value - x_low) / (x_high - x_low) * (kWidth - kLeft - kRight);
  }
  double y(double value) const {
    return kHeight - kBottom - (value - y_low) / (y_high - y_low) * (kHeight - kTop - kBottom);
  }
};

std::string open_svg(double width, double height, const std::string& title) {
  return fmt::format(
      "<svg viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" role=\"img\" "
      "aria-label=\"{}\">",
      width, height, width, html_escaped(title));
}

std::string text_at(double x, double y, const char* classes, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>", x, y, classes,
                     html_escaped(text));
}

std::string line(double x1, double y1, double x2, double y2, const char* classes) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>",
                     x1, y1, x2, y2, classes);
}

std::string grid_x(const Axes& axes, double value, const std::string& label) {
  const double x = axes.x(value);
  return line(x, kTop, x, kHeight - kBottom, "grid") +
         text_at(x, kHeight - kBottom + 16, "tick mid", label);
}

std::string grid_y(const Axes& axes, double value, const std::string& label) {
  const double y = axes.y(value);
  return line(kLeft, y, kWidth - kRight, y, "grid") + text_at(kLeft - 6, y + 4, "tick end", label);
}

std::string axis_titles(const char* x, const char* y) {
  return text_at((kLeft + kWidth - kRight) / 2, kHeight - 6, "tick mid", x) +
         fmt::format(
             "<text transform=\"translate(13,{:.0f}) rotate(-90)\" class=\"tick mid\">{}"
             "</text>",
             (kTop + kHeight - kBottom) / 2, y);
}

std::string dot(double x, double y, int colour, const std::string& title) {
  return fmt::format(
      "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" class=\"dot c{}\"><title>{}"
      "</title></circle>",
      x, y, colour, html_escaped(title));
}

// 950 -> "950", 12000 -> "12k".
std::string short_number(double value) {
  if (value >= 1000) return fmt::format("{:.4g}k", value / 1000);
  return fmt::format("{:.4g}", value);
}

constexpr int kUsedColour = 0;

}  // namespace

std::string speedup_svg(const std::vector<const BenchRow*>& rows, bool is_prompt) {
  double most = 2;
  for (const BenchRow* row : rows) most = std::max(most, static_cast<double>(row->num_devices));
  const Axes axes{0.5, most + 0.5, 0, most + 0.25};
  std::string out = open_svg(kWidth, kHeight, "speed-up over devices");
  const int step = std::max(1, static_cast<int>(most) / 8);
  for (int n = step; n <= static_cast<int>(most); n += step) {
    out += grid_x(axes, n, std::to_string(n)) + grid_y(axes, n, fmt::format("{}x", n));
  }
  out += line(axes.x(0.5), axes.y(0.5), axes.x(most), axes.y(most), "ideal");
  out += axis_titles("devices", "speed-up");
  std::map<std::string, std::vector<const BenchRow*>> series;
  for (const BenchRow* row : rows) {
    if (row->num_devices > 1) series[split_of(*row)].push_back(row);
  }
  int colour = 1;
  double legend_y = kTop + 12;
  for (const auto& [split, points] : series) {
    double x = axes.x(1);
    double y = axes.y(1);
    for (const BenchRow* row : points) {
      const double speedup = phase_of(*row, is_prompt).account.speedup;
      const double next_x = axes.x(row->num_devices);
      const double next_y = axes.y(std::clamp(speedup, 0.0, axes.y_high));
      out += line(x, y, next_x, next_y, fmt::format("line c{}", colour).c_str());
      out += dot(next_x, next_y, colour, fmt::format("{}: {:.2f}x", row->plan, speedup));
      x = next_x;
      y = next_y;
    }
    out += dot(kLeft + 14, legend_y - 4, colour, split) +
           text_at(kLeft + 24, legend_y, "tick",
                   fmt::format("{} {:.2f}x", split,
                               phase_of(*points.back(), is_prompt).account.speedup));
    legend_y += 17;
    ++colour;
  }
  return out + dot(axes.x(1), axes.y(1), kUsedColour, "one device") + "</svg>";
}

std::string losses_svg(const std::vector<const BenchRow*>& rows, bool is_prompt) {
  constexpr double kBarHeight = 22;
  constexpr double kRowHeight = 46;
  constexpr double kBarWidth = 640;
  std::string out;
  double y = 0;
  std::string bars;
  for (const BenchRow* row : rows) {
    const LossAccount& account = phase_of(*row, is_prompt).account;
    bars += text_at(0, y + 13, "tick",
                    fmt::format("{}: {:.0f} % used", row->plan, 100 * account.efficiency));
    double x = 0;
    // Gains elsewhere may make the used part and the losses exceed the whole: to scale then.
    double whole = std::max(account.efficiency, 0.0);
    for (const double loss : account.losses) whole += std::max(loss, 0.0);
    const auto segment = [&](double fraction, const std::string& classes, const std::string& name) {
      const double width = std::max(fraction, 0.0) / whole * kBarWidth;
      bars += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" "
          "class=\"{}\"><title>{}: {:.1f} %</title></rect>",
          x, y + 18, width, kBarHeight, classes, html_escaped(name), 100 * fraction);
      if (width > 34) {
        bars +=
            text_at(x + width / 2, y + 33, "inbar mid", fmt::format("{:.0f} %", 100 * fraction));
      }
      x += width;
    };
    segment(account.efficiency, "bar c0", "used");
    for (std::size_t i = 0; i < kNumLossCauses; ++i) {
      if (account.losses[i] < 0.001) continue;
      segment(account.losses[i], fmt::format("bar l{}", i),
              std::string(text_of(static_cast<LossCause>(i))));
    }
    y += kRowHeight;
  }
  return open_svg(kBarWidth, y + 4, "where device time went") + bars + "</svg>";
}

std::string roofline_svg(const BenchReport& report) {
  const DeviceSetCeilings* largest = nullptr;
  for (const DeviceSetCeilings& set : report.ceilings.sets) {
    if (largest == nullptr || set.devices.size() > largest->devices.size()) largest = &set;
  }
  if (largest == nullptr || largest->rates.read_gbps <= 0) return {};
  const double peak = std::max({largest->rates.int8_gops, largest->rates.bf16_gflops, 1.0});
  const Axes axes{-1, 4, std::floor(std::log10(peak)) - 3, std::ceil(std::log10(peak) + 0.1)};
  std::string out = open_svg(kWidth, kHeight, "roofline");
  for (double at = axes.x_low; at <= axes.x_high; ++at) {
    out += grid_x(axes, at, short_number(std::pow(10, at)));
  }
  for (double at = axes.y_low; at <= axes.y_high; ++at) {
    out += grid_y(axes, at, short_number(std::pow(10, at)));
  }
  out += axis_titles("operations a byte", "Gop/s");
  const auto roof = [&](const DeviceSetCeilings& set, const char* classes) {
    const double reading = std::log10(std::max(set.rates.read_gbps, 1e-3));
    const double products = std::log10(std::max({set.rates.int8_gops, set.rates.bf16_gflops, 1.0}));
    const double from = std::max(axes.x_low, axes.y_low - reading);
    const double knee = std::clamp(products - reading, from, axes.x_high);
    return line(axes.x(from), axes.y(from + reading), axes.x(knee), axes.y(knee + reading),
                classes) +
           line(axes.x(knee), axes.y(products), axes.x(axes.x_high), axes.y(products), classes);
  };
  out += roof(report.ceilings.sets.front(), "roof1") + roof(*largest, "roof");
  const auto mark = [&](const BenchRow& row, const BenchPhase& phase, const std::string& what) {
    if (phase.intensity <= 0 || phase.giga_operations <= 0) return std::string();
    const int colour = row.num_devices == 1 ? 0 : split_of(row) == "tensor" ? 1 : 2;
    return dot(axes.x(std::clamp(std::log10(phase.intensity), axes.x_low, axes.x_high)),
               axes.y(std::clamp(std::log10(phase.giga_operations), axes.y_low, axes.y_high)),
               colour,
               fmt::format("{}, {}: {:.1f} Gop/s, {:.0f} % of its ceiling", row.plan, what,
                           phase.giga_operations, 100 * phase.ceiling_fraction));
  };
  for (const BenchRow& row : report.rows) {
    if (row.concurrency == report.rows.front().concurrency) out += mark(row, row.prefill, "prompt");
    out += mark(row, row.decode, fmt::format("{} sequences", row.concurrency));
  }
  return out + "</svg>";
}

}  // namespace tandem
