#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "plan/compare.h"
#include "plan/page_parts.h"
#include "plan/plan_report.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::string dollars(const std::optional<double>& value, int digits = 0) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "?";
}

// Of the longest machine's name.
std::size_t name_width(const Comparison& comparison) {
  std::size_t width = std::string_view("machine").size();
  for (const auto& one : comparison.configurations) width = std::max(width, one.name.size());
  return width;
}

std::string speeds_text(const Comparison& comparison, const CompareRequest& request) {
  const std::size_t width = name_width(comparison);
  std::size_t plans = std::string_view("plan").size();
  for (const auto& one : comparison.configurations) {
    if (one.plan) plans = std::max(plans, one.plan->name.size());
  }
  std::string out =
      fmt::format("{:<{}}  {:<7} {:<{}} {:>8} {:>19} {:>9}\n", "machine", width, "fits", "plan",
                  plans, "prefill", "decode tokens/s", fmt::format("batch {}", request.batch));
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (!one.plan) {
      out += fmt::format("{:<{}}  {:<7} {}\n", one.name, width, "no", one.why_not);
      continue;
    }
    const Prediction& predicted = *one.plan->predicted;
    out += fmt::format("{:<{}}  {:<7} {:<{}} {:>8.0f} {:>19} {:>9.1f}\n", one.name, width,
                       one.fits ? "yes" : "offload", one.plan->name, plans,
                       predicted.prefill_tokens_per_s,
                       fmt::format("{:.1f} ({:.1f}-{:.1f})", predicted.decode_tokens_per_s,
                                   predicted.low, predicted.high),
                       one.batch_tokens_per_s);
  }
  return out;
}

std::string costs_text(const Comparison& comparison) {
  const std::size_t width = name_width(comparison);
  std::string out = fmt::format("{:<{}}  {:>8} {:>9} {:>7} {:>10} {:>9}\n", "machine", width,
                                "price $", "more $", "watts", "$/Mtoken", "token/J");
  for (const ComparedConfiguration& one : comparison.configurations) {
    out += fmt::format("{:<{}}  {:>8}", one.name, width, dollars(one.price));
    if (one.plan) {
      out += fmt::format(" {:>9} {:>7.0f} {:>10} {:>9.3f}", dollars(one.cost_difference),
                         one.wall_power_w, dollars(one.cost_per_million_tokens, 2),
                         one.tokens_per_joule);
    }
    out += "\n";
  }
  return out;
}

}  // namespace

std::string comparison_text(const Comparison& comparison, const CompareRequest& request,
                            const std::string& model, const std::string& engine) {
  std::string out = fmt::format(
      "{}, engine {}\n{} prompt and {} generated tokens; {:.2f} a kWh, {:.1f} hours a day, {:.1f} "
      "years\n\n",
      model, engine, request.search.workload.prompt_tokens,
      request.search.workload.generated_tokens, request.electricity_per_kwh, request.hours_per_day,
      request.years);
  out += speeds_text(comparison, request) + "\n" + costs_text(comparison);
  out += "\n";
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (!one.fits) out += fmt::format("{}: {}\n", one.name, one.why_not);
    for (const std::string& note : one.plan ? one.plan->notes : std::vector<std::string>{}) {
      out += fmt::format("{}: {}\n", one.name, note);
    }
    if (!one.price_note.empty()) out += fmt::format("{}: price {}\n", one.name, one.price_note);
    if (one.break_even_million_tokens) {
      out += fmt::format("{}: saves its higher price in electricity after {:.0f} million tokens\n",
                         one.name, *one.break_even_million_tokens);
    }
  }
  return out + "\n" + comparison.verdict + "\n";
}

nlohmann::json comparison_json(const Comparison& comparison) {
  Json rows = Json::array();
  for (const ComparedConfiguration& one : comparison.configurations) {
    Json row = {{"name", one.name},
                {"fits", one.fits},
                {"why_not", one.fits ? Json(nullptr) : Json(one.why_not)},
                {"offload", one.offload},
                {"plan", one.plan ? to_json(*one.plan) : Json(nullptr)},
                {"price", or_null(one.price)},
                {"price_note", one.price_note},
                {"cost_per_million_tokens", or_null(one.cost_per_million_tokens)},
                {"cost_difference", or_null(one.cost_difference)},
                {"break_even_million_tokens", or_null(one.break_even_million_tokens)}};
    const bool known = one.plan.has_value();
    const auto figure = [&](double value) { return known ? Json(value) : Json(nullptr); };
    row["prefill_tokens_per_s"] = figure(known ? one.plan->predicted->prefill_tokens_per_s : 0);
    row["decode_tokens_per_s"] = figure(known ? one.plan->predicted->decode_tokens_per_s : 0);
    row["low"] = figure(known ? one.plan->predicted->low : 0);
    row["high"] = figure(known ? one.plan->predicted->high : 0);
    row["batch_tokens_per_s"] = figure(one.batch_tokens_per_s);
    row["wall_power_w"] = figure(one.wall_power_w);
    row["tokens_per_joule"] = figure(one.tokens_per_joule);
    row["electricity_per_million_tokens"] = figure(one.electricity_per_million_tokens);
    rows.push_back(std::move(row));
  }
  return {{"configurations", std::move(rows)}, {"verdict", comparison.verdict}};
}

std::string comparison_html(const Comparison& comparison, const std::string& model) {
  std::vector<ScatterPoint> points;
  std::string table =
      "<div class=\"wide\"><table><tr><th>machine</th><th>fits</th><th>plan</th><th>prefill</th>"
      "<th>decode</th><th>batch</th><th>price</th><th>watts</th><th>$/Mtoken</th></tr>";
  std::string details;
  for (const ComparedConfiguration& one : comparison.configurations) {
    const std::string name = html_escaped(one.name);
    if (!one.plan) {
      table += fmt::format("<tr><td>{}</td><td>no</td><td class=\"why\" colspan=\"7\">{}</td></tr>",
                           name, html_escaped(one.why_not));
      continue;
    }
    const Prediction& predicted = *one.plan->predicted;
    if (one.price) {
      points.push_back({*one.price, predicted.decode_tokens_per_s, predicted.low, predicted.high,
                        one.name, one.fits});
    }
    table += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.0f}</td><td>{:.1f} ({:.1f} to {:.1f})</td>"
        "<td>{:.0f}</td><td>{}</td><td>{:.0f}</td><td>{}</td></tr>",
        name, one.fits ? "yes" : "offload", html_escaped(one.plan->name),
        predicted.prefill_tokens_per_s, predicted.decode_tokens_per_s, predicted.low,
        predicted.high, one.batch_tokens_per_s, dollars(one.price), one.wall_power_w,
        dollars(one.cost_per_million_tokens, 2));
    details += fmt::format("<section><h2>{}: {}</h2>", name, html_escaped(one.plan->name)) +
               memory_bars(*one.plan) + "<h3>Where the ideal goes</h3>" +
               loss_stack(*one.plan->scaling) + "</section>";
  }
  std::string out = page_head("tandem compare: " + model);
  out += fmt::format("<h1>{}</h1><p class=\"lead\">{}</p>{}</table></div>", html_escaped(model),
                     html_escaped(comparison.verdict), table);
  if (!points.empty()) {
    out += "<h2>Cost against speed</h2>" +
           scatter(points, "price of the cards, dollars", "tokens/s") +
           "<p class=\"soft\">Grey: a part of the layers on the processor. Lines: 80 % of "
           "measurements are expected within them.</p>";
  }
  return out + details + page_end();
}

}  // namespace tandem
