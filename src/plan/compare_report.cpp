#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "plan/compare.h"
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

}  // namespace

std::string comparison_text(const Comparison& comparison, const CompareRequest& request,
                            const std::string& model, const std::string& engine) {
  std::string out = fmt::format(
      "{}, engine {}\n{} prompt and {} generated tokens; {:.2f} a kWh, {:.1f} hours a day, {:.1f} "
      "years\n\n",
      model, engine, request.search.workload.prompt_tokens,
      request.search.workload.generated_tokens, request.electricity_per_kwh, request.hours_per_day,
      request.years);
  out += fmt::format("{:<22} {:<8} {:<26} {:>8} {:>19} {:>9} {:>7} {:>6} {:>9} {:>9} {:>7}\n",
                     "machine", "fits", "plan", "prefill", "decode tokens/s",
                     fmt::format("batch {}", request.batch), "price", "watts", "$/Mtoken",
                     "token/J", "more $");
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (!one.plan) {
      out += fmt::format("{:<22} {:<8} {}\n", one.name, "no", one.why_not);
      continue;
    }
    const Prediction& predicted = *one.plan->predicted;
    out += fmt::format(
        "{:<22} {:<8} {:<26} {:>8.0f} {:>19} {:>9.1f} {:>7} {:>6.0f} {:>9} {:>9.3f} {:>7}\n",
        one.name, one.fits ? "yes" : "offload", one.plan->name.substr(0, 26),
        predicted.prefill_tokens_per_s,
        fmt::format("{:.1f} ({:.1f}-{:.1f})", predicted.decode_tokens_per_s, predicted.low,
                    predicted.high),
        one.batch_tokens_per_s, dollars(one.price), one.wall_power_w,
        dollars(one.cost_per_million_tokens, 2), one.tokens_per_joule,
        dollars(one.cost_difference));
  }
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
  constexpr double kWidth = 640;
  constexpr double kHeight = 360;
  double most_price = 1;
  double most_rate = 1;
  for (const ComparedConfiguration& one : comparison.configurations) {
    most_price = std::max(most_price, one.price.value_or(0));
    if (one.plan) most_rate = std::max(most_rate, one.plan->predicted->decode_tokens_per_s);
  }
  std::string out = fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>tandem compare</title>"
      "<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto}}"
      "td,th{{padding:.25rem .7rem;text-align:right}}td:first-child{{text-align:left}}</style>"
      "</head><body><h1>{}</h1><p>{}</p><h2>Speed against price</h2>"
      "<svg width=\"{:.0f}\" height=\"{:.0f}\" style=\"border:1px solid #ddd\">",
      html_escaped(model), html_escaped(comparison.verdict), kWidth + 120, kHeight + 40);
  std::string table =
      "<table><tr><th>machine</th><th>fits</th><th>prefill</th><th>decode</th><th>price</th>"
      "<th>watts</th><th>$/Mtoken</th></tr>";
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (!one.plan) continue;
    const double rate = one.plan->predicted->decode_tokens_per_s;
    if (one.price) {
      const double x = 20 + *one.price / most_price * (kWidth - 40);
      const double y = kHeight - rate / most_rate * (kHeight - 30);
      out += fmt::format(
          "<circle cx=\"{:.0f}\" cy=\"{:.0f}\" r=\"6\" fill=\"{}\"/><text x=\"{:.0f}\" "
          "y=\"{:.0f}\" "
          "font-size=\"13\">{}</text>",
          x, y, one.fits ? "#4c78a8" : "#bab0ac", x + 9, y + 4, html_escaped(one.name));
    }
    table += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{:.0f}</td><td>{:.1f}</td><td>{}</td><td>{:.0f}</td>"
        "<td>{}</td></tr>",
        html_escaped(one.name), one.fits ? "yes" : "offload",
        one.plan->predicted->prefill_tokens_per_s, rate, dollars(one.price), one.wall_power_w,
        dollars(one.cost_per_million_tokens, 2));
  }
  out += fmt::format(
      "<text x=\"8\" y=\"14\" font-size=\"12\">{:.0f} tokens/s</text><text x=\"{:.0f}\" "
      "y=\"{:.0f}\" "
      "font-size=\"12\">{:.0f} dollars</text></svg>",
      most_rate, kWidth - 40, kHeight + 30, most_price);
  return out + table + "</table></body></html>\n";
}

}  // namespace tandem
