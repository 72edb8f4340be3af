#include "plan/page_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/units.h"
#include "plan/plan_report.h"

namespace tandem {
namespace {

constexpr double kBarWidth = 640;
constexpr double kOverflowWidth = 60;  // of the mark behind a bar whose content does not fit

// Colours by role: --s0 to --s2 for parts of a whole or kinds of plans, --l0 on for causes of loss.
constexpr const char* kStyle =
    R"(:root{color-scheme:light dark;--bg:#fff;--ink:#1d2330;--soft:#5b6475;--rule:#dfe3ea;--track:#e9ecf1;
--s0:#2f6fb5;--s1:#c0641c;--s2:#2a7f62;--bad:#c2313f;--mute:#9aa3b2;
--l0:#d1495b;--l1:#e07a5f;--l2:#edae49;--l3:#7b4fb0;--l4:#a83279;--l5:#4d7ea8;--l6:#8d96a8}
@media (prefers-color-scheme:dark){:root{--bg:#14171c;--ink:#e6e9ef;--soft:#9aa3b2;--rule:#2c323c;
--track:#262b34;--s0:#5b9be0;--s1:#e08a45;--s2:#4db392;--bad:#ef6b77;--mute:#6b7484}}
body{font:15px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--ink);max-width:64rem;
margin:2rem auto;padding:0 1.2rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
.soft{color:var(--soft);font-size:.9em}.lead{font-size:1.1rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--rule)}
th{color:var(--soft);font-size:.85em}
td:first-child,th:first-child,td.why,th.why{text-align:left}
svg{display:block;margin:.2rem 0;max-width:100%;height:auto}svg text{fill:var(--ink);font:13px system-ui,sans-serif}
svg text.label{paint-order:stroke;stroke:var(--bg);stroke-width:3px}
svg text.soft{fill:var(--soft);font-size:12px}.mid{text-anchor:middle}.end{text-anchor:end}
.track{fill:var(--track)}.s0{fill:var(--s0)}.s1{fill:var(--s1)}.s2{fill:var(--s2)}.bad{fill:var(--bad)}
.mute{fill:var(--mute)}.axis{stroke:var(--rule)}.whisker{stroke:var(--soft);stroke-width:1.5}
.l0{fill:var(--l0)}.l1{fill:var(--l1)}.l2{fill:var(--l2)}.l3{fill:var(--l3)}.l4{fill:var(--l4)}
.l5{fill:var(--l5)}.l6{fill:var(--l6)}
.key{display:inline-flex;align-items:center;gap:.35rem;margin-right:1rem;font-size:.9em}
.key svg{margin:0}
@page{margin:14mm}
@media print{:root{--bg:#fff;--ink:#000;--soft:#444;--rule:#bbb;--track:#eee;--s0:#2f6fb5;
--s1:#c0641c;--s2:#2a7f62}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
body{font-size:10px;max-width:none;margin:0;padding:0}.wide{overflow:visible}
th,td{padding:.2rem .35rem}svg,tr{break-inside:avoid}h2,h3{break-after:avoid}}
)";

struct Segment {
  double width = 0;  // of the whole bar
  std::string colour;
  std::string title;
};

// A horizontal bar; what lies beyond 1 stands behind its end, hatched by its own colour.
std::string bar(const std::vector<Segment>& segments) {
  double sum = 0;
  for (const Segment& segment : segments) sum += std::max(0.0, segment.width);
  std::string out = fmt::format(
      "<svg viewBox=\"0 0 {0:.0f} 20\" width=\"{0:.0f}\" height=\"20\" role=\"img\"><rect "
      "class=\"track\" width=\"{1:.0f}\" height=\"20\" rx=\"2\"/>",
      kBarWidth + kOverflowWidth, kBarWidth);
  double x = 0;
  for (const Segment& segment : segments) {
    const double width = std::min(std::max(0.0, segment.width), 1.0 - x);
    if (width > 0) {
      out += fmt::format(
          "<rect class=\"{}\" x=\"{:.1f}\" width=\"{:.1f}\" height=\"20\"><title>{}</title></rect>",
          segment.colour, x * kBarWidth, width * kBarWidth, html_escaped(segment.title));
    }
    x += width;
  }
  if (sum > 1.0005) {
    out += fmt::format(
        "<rect class=\"bad\" x=\"{:.1f}\" width=\"4\" height=\"20\"/><text x=\"{:.1f}\" "
        "y=\"15\">+{:.0f} %</text>",
        kBarWidth, kBarWidth + 9, 100 * (sum - 1));
  }
  return out + "</svg>";
}

std::string key(const char* colour, const std::string& text) {
  return fmt::format(
      "<span class=\"key\"><svg width=\"12\" height=\"12\"><rect class=\"{}\" width=\"12\" "
      "height=\"12\" rx=\"2\"/></svg>{}</span>",
      colour, text);
}

std::string rank_bar(const RankPlan& rank, const StagePlan& stage, const std::string& name) {
  const double capacity =
      static_cast<double>(rank.capacity_bytes > 0 ? rank.capacity_bytes
                                                  : std::max<std::int64_t>(1, rank.total_bytes()));
  const auto share = [&](std::int64_t bytes) { return static_cast<double>(bytes) / capacity; };
  return fmt::format(
      "<div>{}{}{} <span class=\"soft\">{} of {}; {:.1f} % of layers {} to {}</span>{}</div>",
      html_escaped(rank.device), name.empty() ? "" : ", ", html_escaped(name),
      format_bytes(rank.total_bytes()),
      rank.capacity_bytes > 0 ? format_bytes(rank.capacity_bytes) : "unknown", 100 * rank.share,
      stage.first_layer, stage.first_layer + stage.num_layers - 1,
      bar({{share(rank.weights_bytes), "s0", "weights " + format_bytes(rank.weights_bytes)},
           {share(rank.kv_bytes), "s1", "cache " + format_bytes(rank.kv_bytes)},
           {share(rank.compute_bytes), "s2",
            "compute buffers " + format_bytes(rank.compute_bytes)}}));
}

// 1, 2 or 5 times a power of ten, of which three to seven make `most`.
double tick_of(double most) {
  const double largest = most / 3;
  const double power = std::pow(10.0, std::floor(std::log10(largest)));
  for (const double factor : {5.0, 2.0}) {
    if (factor * power <= largest) return factor * power;
  }
  return power;
}

// The drawing area of a scatter plot, in pixels.
struct Area {
  double left = 60;
  double top = 24;
  double width = 560;
  double height = 300;
  double most_x = 1;
  double most_y = 1;

  double x(double value) const { return left + value / most_x * width; }
  double y(double value) const { return top + height - value / most_y * height; }
};

std::string axes(const Area& area, const std::string& x_title, const std::string& y_title) {
  std::string out;
  const double x_tick = tick_of(area.most_x);
  for (double value = 0; value <= area.most_x * 1.0001; value += x_tick) {
    out += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/><text "
        "class=\"soft mid\" x=\"{0:.1f}\" y=\"{3:.1f}\">{4:g}</text>",
        area.x(value), area.top, area.top + area.height, area.top + area.height + 16, value);
  }
  const double y_tick = tick_of(area.most_y);
  for (double value = 0; value <= area.most_y * 1.0001; value += y_tick) {
    out += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/><text "
        "class=\"soft end\" x=\"{3:.1f}\" y=\"{4:.1f}\">{5:g}</text>",
        area.left, area.left + area.width, area.y(value), area.left - 6, area.y(value) + 4, value);
  }
  return out + fmt::format(
                   "<text class=\"soft end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text><text "
                   "class=\"soft\" x=\"4\" y=\"14\">{}</text>",
                   area.left + area.width, area.top + area.height + 34, html_escaped(x_title),
                   html_escaped(y_title));
}

constexpr double kLabelGap = 14;
constexpr double kLabelCharacter = 8;  // its width, in the widest fonts at this size

// Where a point's label ends.
double label_right(const Area& area, const ScatterPoint& point) {
  return area.x(point.x) + kLabelGap + kLabelCharacter * static_cast<double>(point.label.size());
}

// The height of each point's label, so that no label lies on another: from the top down, each where
// its point is, or below those that it would touch.
std::vector<double> label_heights(const Area& area, const std::vector<ScatterPoint>& points) {
  constexpr double kLine = 15;
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return points[a].y > points[b].y; });
  std::vector<double> heights(points.size());
  std::vector<std::size_t> placed;
  for (const std::size_t index : order) {
    const double left = area.x(points[index].x);
    const double right = label_right(area, points[index]);
    double top = area.y(points[index].y);
    for (const std::size_t other : placed) {
      const double others_left = area.x(points[other].x);
      const double others_right = label_right(area, points[other]);
      if (left < others_right && others_left < right) {
        top = std::max(top, heights[other] + kLine);
      }
    }
    heights[index] = top;
    placed.push_back(index);
  }
  return heights;
}

std::string label_of(const Area& area, const ScatterPoint& point, double top) {
  const double x = area.x(point.x);
  const double y = area.y(point.y);
  std::string line;
  if (top - y > 6) {  // further off than its point is large
    line = fmt::format(
        "<line class=\"axis\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>", x, y,
        x + 12, top);
  }
  return line + fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                            x + kLabelGap, top + 4, html_escaped(point.label));
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string page_head(const std::string& title, const std::string& style) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
         "content=\"width=device-width, initial-scale=1\"><title>" +
         html_escaped(title) + "</title><style>\n" + kStyle + style + "</style></head><body>\n";
}

std::string page_end() {
  return "</body></html>\n";
}

std::string memory_bars(const Plan& plan, const std::map<std::string, std::string>& names) {
  std::string out;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      out += rank_bar(rank, stage, name_of_device(names, rank.device));
    }
  }
  return out + "<p>" + key("s0", "weights") + key("s1", "keys and values") +
         key("s2", "compute buffers") + "</p>";
}

std::string loss_stack(const ScalingReport& scaling) {
  std::vector<Segment> segments = {{scaling.efficiency, "s2", "used"}};
  std::string table = fmt::format(
      "<table><tr><th></th><th>share</th><th class=\"why\">why</th></tr><tr><td>{}</td><td>{:.1f} "
      "%</td><td class=\"why\">theoretical {:.2f}x, predicted {:.2f}x the fastest device "
      "alone</td></tr>",
      key("s2", "used"), 100 * scaling.efficiency, scaling.theoretical_speedup,
      scaling.predicted_speedup);
  std::size_t index = 0;
  for (const LossLine& line : loss_lines(scaling)) {
    const std::string colour = fmt::format("l{}", index++ % 7);
    segments.push_back({line.fraction, colour, line.cause});
    if (line.fraction < 0.0005) continue;
    table += fmt::format("<tr><td>{}</td><td>{:.1f} %</td><td class=\"why\">{}</td></tr>",
                         key(colour.c_str(), line.cause), 100 * line.fraction, line.why);
  }
  return bar(segments) + "<div class=\"wide\">" + table + "</table></div>";
}

std::string scatter(const std::vector<ScatterPoint>& points, const std::string& x_title,
                    const std::string& y_title) {
  Area area;
  area.most_x = area.most_y = 1e-9;
  for (const ScatterPoint& point : points) {
    area.most_x = std::max(area.most_x, 1.1 * point.x);
    area.most_y = std::max(area.most_y, 1.1 * std::max(point.y, point.y_high));
  }
  double right = area.left + area.width;
  for (const ScatterPoint& point : points) right = std::max(right, label_right(area, point));
  std::string out = fmt::format(
      "<svg viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\">",
      right, area.top + area.height + 42);
  out += axes(area, x_title, y_title);
  const std::vector<double> heights = label_heights(area, points);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ScatterPoint& point = points[i];
    if (point.y_high > point.y_low) {
      out += fmt::format(
          "<line class=\"whisker\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>",
          area.x(point.x), area.y(point.y_low), area.y(point.y_high));
    }
    out += label_of(area, point, heights[i]);
    out += fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6\"/>",
                       point.fits ? "s0" : "mute", area.x(point.x), area.y(point.y));
  }
  return out + "</svg>";
}

}  // namespace tandem
