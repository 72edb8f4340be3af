#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "plan/page_parts.h"
#include "plan/plan_report.h"

namespace tandem {
namespace {

constexpr double kJoulesPerKwh = 3.6e6;

std::string plans_table(const std::vector<Plan>& plans) {
  std::string out =
      "<div class=\"wide\"><table><tr><th>plan</th><th>fits</th><th>prefill</th><th>decode</th>"
      "<th>range</th><th>speed-up</th><th>efficiency</th><th>watts</th></tr>";
  for (const Plan& plan : plans) {
    if (!plan.predicted || !plan.scaling) continue;
    const Prediction& predicted = *plan.predicted;
    out += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{:.0f}</td><td>{:.1f}</td><td>{:.1f} to {:.1f}</td>"
        "<td>{:.2f}</td><td>{:.0f} %</td><td>{:.0f}</td></tr>",
        html_escaped(plan.name), plan.fits ? "yes" : "no", predicted.prefill_tokens_per_s,
        predicted.decode_tokens_per_s, predicted.low, predicted.high,
        plan.scaling->predicted_speedup, 100 * plan.scaling->efficiency, plan.power_w.value_or(0));
  }
  return out + "</table></div>";
}

// Energy of a million generated tokens against the rate.
std::string cost_against_speed(const std::vector<Plan>& plans) {
  std::vector<ScatterPoint> points;
  for (const Plan& plan : plans) {
    if (!plan.predicted || !plan.power_w) continue;
    const Prediction& predicted = *plan.predicted;
    const double kwh = *plan.power_w / predicted.decode_tokens_per_s * 1e6 / kJoulesPerKwh;
    points.push_back(
        {kwh, predicted.decode_tokens_per_s, predicted.low, predicted.high, plan.name, plan.fits});
  }
  if (points.empty()) return "";
  return "<h2>Cost against speed</h2>" +
         scatter(points, "kWh that the devices draw for a million tokens", "tokens/s") +
         "<p class=\"soft\">Grey: does not fit. Lines: 80 % of measurements are expected within "
         "them.</p>";
}

std::string list_of(const char* title, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string out = fmt::format("<h2>{}</h2><ul>", title);
  for (const std::string& item : items) out += "<li>" + html_escaped(item) + "</li>";
  return out + "</ul>";
}

}  // namespace

std::string plan_report_html(const PlanReport& report) {
  std::string out = page_head("tandem plan: " + report.model);
  out += fmt::format(
      "<h1>{}</h1><p>on {}, engine {}; {} prompt and {} generated tokens, {} at once</p>",
      html_escaped(report.model), html_escaped(report.machine), html_escaped(report.engine),
      report.workload.prompt_tokens, report.workload.generated_tokens, report.workload.concurrency);
  if (report.plans.empty()) return out + "<p>No plan.</p>" + page_end();
  const Plan& best = report.plans.front();
  out += fmt::format("<h2>{}: {}</h2>",
                     best.fits ? "Recommended for " + html_escaped(report.objective)
                               : std::string("Nothing fits; the nearest"),
                     html_escaped(best.name));
  if (best.fits && best.predicted) {
    out += fmt::format(
        "<p class=\"lead\">Decode {:.1f} tokens/s ({:.1f} to {:.1f}), prefill {:.0f} tokens/s</p>",
        best.predicted->decode_tokens_per_s, best.predicted->low, best.predicted->high,
        best.predicted->prefill_tokens_per_s);
  }
  if (!best.fits) out += "<p>" + html_escaped(best.why_not) + "</p>";
  for (const std::string& note : best.notes) out += "<p>" + html_escaped(note) + "</p>";
  out += memory_bars(best, report.device_names);
  if (best.scaling) out += "<h2>Where the ideal goes</h2>" + loss_stack(*best.scaling);
  out += "<h2>Plans</h2>" + plans_table(report.plans) + cost_against_speed(report.plans);
  std::vector<std::string> help;
  for (const Advice& advice : report.help) {
    help.push_back(fmt::format("{:+.0f} %: {}", 100 * advice.gain, advice.what));
  }
  out += list_of("What would help", help) + list_of("What would fit", report.would_fit);
  std::vector<std::string> footing = report.assumptions;
  footing.insert(footing.end(), report.sources.begin(), report.sources.end());
  return out + list_of("Where the figures come from", footing) + page_end();
}

}  // namespace tandem
