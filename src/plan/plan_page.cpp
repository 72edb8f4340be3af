#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "plan/plan_report.h"

namespace tandem {
namespace {

constexpr double kBarWidth = 560;

constexpr const char* kHead =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>tandem "
    "plan</title><style>"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse}td,th{padding:.25rem .7rem;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    "svg{display:block;margin:.3rem 0}.small{color:#666;font-size:13px}</style></head><body>";

struct Segment {
  double width = 0;  // of the whole bar
  const char* colour = "";
  std::string title;
};

// A horizontal bar; what lies beyond 1 is cut and marked red.
std::string bar(const std::vector<Segment>& segments) {
  std::string out = fmt::format(
      "<svg width=\"{0:.0f}\" height=\"20\"><rect width=\"{0:.0f}\" height=\"20\" fill=\"#eee\"/>",
      kBarWidth);
  double x = 0;
  for (const Segment& segment : segments) {
    const double width = std::min(segment.width, 1.0 - x);
    if (width > 0) {
      out += fmt::format(
          "<rect x=\"{:.1f}\" width=\"{:.1f}\" height=\"20\" fill=\"{}\"><title>{}</title></rect>",
          x * kBarWidth, width * kBarWidth, segment.colour, html_escaped(segment.title));
    }
    x = std::min(1.0, x + std::max(0.0, segment.width));
  }
  return out + "</svg>";
}

std::string memory_bars(const Plan& plan) {
  std::string out;
  for (const StagePlan& stage : plan.stages) {
    for (const RankPlan& rank : stage.ranks) {
      const double capacity = static_cast<double>(
          rank.capacity_bytes > 0 ? rank.capacity_bytes
                                  : std::max<std::int64_t>(1, rank.total_bytes()));
      const auto share = [&](std::int64_t bytes) { return static_cast<double>(bytes) / capacity; };
      out += fmt::format("<div>{} <span class=\"small\">{} of {}, {:.1f} % of layers {}-{}</span>",
                         html_escaped(rank.device), format_bytes(rank.total_bytes()),
                         format_bytes(rank.capacity_bytes), 100 * rank.share, stage.first_layer,
                         stage.first_layer + stage.num_layers - 1);
      out += bar(
          {{share(rank.weights_bytes), "#4c78a8", "weights " + format_bytes(rank.weights_bytes)},
           {share(rank.kv_bytes), "#f58518", "cache " + format_bytes(rank.kv_bytes)},
           {share(rank.compute_bytes), "#54a24b", "compute " + format_bytes(rank.compute_bytes)}});
      out += "</div>";
    }
  }
  return out + "<p class=\"small\">blue weights, orange keys and values, green compute buffers</p>";
}

std::string loss_stack(const ScalingReport& scaling) {
  static constexpr const char* kColours[] = {"#e45756", "#f58518", "#eeca3b", "#b279a2",
                                             "#ff9da6", "#9d755d", "#bab0ac"};
  std::vector<Segment> segments = {{scaling.efficiency, "#54a24b", "used"}};
  std::string table = fmt::format(
      "<table><tr><th>cause</th><th>share</th><th>why</th></tr><tr><td>used"
      "</td><td>{:.1f} %</td><td></td></tr>",
      100 * scaling.efficiency);
  std::size_t index = 0;
  for (const LossLine& line : loss_lines(scaling)) {
    segments.push_back({line.fraction, kColours[index++ % 7], line.cause});
    table += fmt::format("<tr><td>{}</td><td>{:.1f} %</td><td>{}</td></tr>", line.cause,
                         100 * line.fraction, line.why);
  }
  return bar(segments) + table + "</table>";
}

std::string plans_table(const std::vector<Plan>& plans) {
  double fastest = 1e-9;
  for (const Plan& plan : plans) {
    if (plan.predicted) fastest = std::max(fastest, plan.predicted->decode_tokens_per_s);
  }
  std::string out =
      "<table><tr><th>plan</th><th>fits</th><th>prefill</th><th>decode</th><th>range</th>"
      "<th>watts</th></tr>";
  for (const Plan& plan : plans) {
    if (!plan.predicted) continue;
    const Prediction& predicted = *plan.predicted;
    out += fmt::format(
        "<tr><td>{}{}</td><td>{}</td><td>{:.0f}</td><td>{:.1f}</td><td>{:.1f}-{:.1f}</td>"
        "<td>{:.0f}</td></tr>",
        html_escaped(plan.name),
        bar({{predicted.decode_tokens_per_s / fastest, plan.fits ? "#4c78a8" : "#bab0ac", ""}}),
        plan.fits ? "yes" : "no", predicted.prefill_tokens_per_s, predicted.decode_tokens_per_s,
        predicted.low, predicted.high, plan.power_w.value_or(0));
  }
  return out + "</table>";
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

std::string plan_report_html(const PlanReport& report) {
  std::string out = kHead;
  out += fmt::format(
      "<h1>{}</h1><p>on {}, engine {}; {} prompt and {} generated tokens, {} at once</p>",
      html_escaped(report.model), html_escaped(report.machine), html_escaped(report.engine),
      report.workload.prompt_tokens, report.workload.generated_tokens, report.workload.concurrency);
  if (report.plans.empty()) return out + "<p>No plan.</p></body></html>\n";
  const Plan& best = report.plans.front();
  out += fmt::format("<h2>{}: {}</h2>", best.fits ? "Recommended" : "Nothing fits; the nearest",
                     html_escaped(best.name));
  if (!best.fits) out += "<p>" + html_escaped(best.why_not) + "</p>";
  out += memory_bars(best);
  if (best.scaling) out += "<h2>Where the ideal goes</h2>" + loss_stack(*best.scaling);
  out += "<h2>Plans</h2>" + plans_table(report.plans);
  if (!report.help.empty()) out += "<h2>What would help</h2><ul>";
  for (const Advice& advice : report.help) {
    out += fmt::format("<li>{:+.0f} %: {}</li>", 100 * advice.gain, html_escaped(advice.what));
  }
  if (!report.help.empty()) out += "</ul>";
  return out + "</body></html>\n";
}

}  // namespace tandem
