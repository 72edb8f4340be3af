#include <fmt/format.h>

#include <algorithm>

#include "app/bench/bench_report.h"
#include "app/bench/svg_plots.h"
#include "plan/page_parts.h"

namespace tandem {
namespace {

// What this page has beside the common style: figures side by side, lines and roofs. Colours by
// role: --c0 to --c3 for setups, --l0 to --l10 for LossCause, in its order.
constexpr const char* kStyle = R"(
:root{--card:#f6f7f9;--c0:var(--s2);--c1:var(--s0);--c2:var(--s1);--c3:#7b4fb0;
--l3:#8d96a8;--l4:#7b4fb0;--l5:#a83279;--l6:#4d7ea8;--l7:#66a182;--l8:#9a8c72;--l9:#5f5b6b;--l10:#c2a83e}
@media (prefers-color-scheme:dark){:root{--card:#1b1f26;--c3:#a67fd8}}
body{max-width:68rem}table{width:100%}th,td{white-space:nowrap}td.why{white-space:normal}
.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;background:var(--card);
border:1px solid var(--rule);border-radius:8px;padding:.7rem;max-width:100%}
figcaption{font-size:.85em;color:var(--soft);margin-bottom:.3rem}
svg text{font-size:12px}.tick{fill:var(--soft)}.grid{stroke:var(--track)}
.ideal{stroke:var(--soft);stroke-dasharray:5 4}.line{stroke-width:2.2}
.roof{stroke:var(--ink);stroke-width:2}.roof1{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:4 3}
line.c1{stroke:var(--c1)}line.c2{stroke:var(--c2)}line.c3{stroke:var(--c3)}
.c0{fill:var(--c0)}.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}
svg text.inbar{fill:#fff;font-weight:600}.key i{width:.8rem;height:.8rem;border-radius:2px}
@media print{:root{--card:#fff;--c3:#7b4fb0}th{white-space:normal}figure{break-inside:avoid}}
)";

std::string style_of_losses() {
  std::string out;
  for (std::size_t i = 0; i < kNumLossCauses; ++i) {
    out += fmt::format(".l{0}{{fill:var(--l{0})}}i.l{0}{{background:var(--l{0})}}", i);
  }
  return out + "i.c0{background:var(--c0)}i.c1{background:var(--c1)}i.c2{background:var(--c2)}";
}

std::string percent(double fraction) {
  return fmt::format("{:.1f} %", 100 * fraction);
}

std::string ceilings_table(const CeilingSurvey& survey) {
  std::string out =
      "<h2>Ceilings</h2><div class=\"wide\"><table><tr><th>devices</th><th>reads</th>"
      "<th>int8 products</th><th>bf16 products</th><th class=\"why\">best pattern</th></tr>";
  for (const DeviceSetCeilings& set : survey.sets) {
    out += fmt::format(
        "<tr><td>{}</td><td>{:.1f} GB/s</td><td>{:.0f} Gop/s</td><td>{}</td>"
        "<td class=\"why soft\">{}</td></tr>",
        html_escaped(fmt::format("{}", fmt::join(set.devices, " + "))), set.rates.read_gbps,
        set.rates.int8_gops,
        set.rates.bf16_gflops > 0 ? fmt::format("{:.0f} Gflop/s", set.rates.bf16_gflops)
                                  : std::string("none"),
        html_escaped(set.rates.read_pattern));
  }
  out += "</table></div>";
  for (const MeasuredLink& link : survey.links) {
    out += fmt::format(
        "<p class=\"soft\">{} &ndash; {}: a message takes {:.2f} &micro;s, 4 MiB pass at {:.1f} "
        "GB/s, a reduction takes {:.2f} &micro;s.</p>",
        html_escaped(link.a), html_escaped(link.b), link.latency_us, link.bandwidth_gbps,
        link.all_reduce_us);
  }
  return out;
}

std::string table(const std::vector<const BenchRow*>& rows, bool is_prompt) {
  std::string out =
      "<div class=\"wide\"><table><tr><th>setup</th><th>theoretical</th><th>predicted</th>"
      "<th>measured</th><th>range</th><th>speed-up</th><th>efficiency</th><th>of ceiling</th>"
      "<th class=\"why\">where the rest went</th></tr>";
  for (const BenchRow* row : rows) {
    const BenchPhase& phase = is_prompt ? row->prefill : row->decode;
    const std::string why = describe_losses(phase);
    const std::string flag =
        phase.num_disturbed == 0
            ? ""
            : fmt::format(" <span class=\"soft\">({} of {} repetitions disturbed)</span>",
                          phase.num_disturbed, phase.num_repetitions);
    out += fmt::format(
        "<tr><td>{}</td><td>{}.00x</td><td>{}</td><td>{:.1f}</td><td class=\"soft\">{:.1f}&ndash;"
        "{:.1f}</td><td>{:.2f}x</td><td>{}</td><td>{}</td><td class=\"why\">{}{}</td></tr>",
        html_escaped(row->plan), row->num_devices,
        phase.predicted_tokens_per_s ? fmt::format("{:.1f}", *phase.predicted_tokens_per_s) : "",
        phase.tokens_per_s, phase.lowest, phase.highest, phase.account.speedup,
        percent(phase.account.efficiency), percent(phase.ceiling_fraction), html_escaped(why),
        flag);
  }
  return out + "</table></div>";
}

// The causes that any of the bars shows.
std::string legend(const std::vector<const BenchRow*>& rows, bool is_prompt) {
  std::string out = "<div><span class=\"key\"><i class=\"c0\"></i>used</span>";
  for (std::size_t i = 0; i < kNumLossCauses; ++i) {
    const bool is_shown = std::any_of(rows.begin(), rows.end(), [&](const BenchRow* row) {
      return (is_prompt ? row->prefill : row->decode).account.losses[i] >= 0.001;
    });
    if (!is_shown) continue;
    out += fmt::format("<span class=\"key\"><i class=\"l{}\"></i>{}</span>", i,
                       text_of(static_cast<LossCause>(i)));
  }
  return out + "</div>";
}

std::string section(const std::string& title, const std::vector<const BenchRow*>& rows,
                    bool is_prompt) {
  std::string out =
      fmt::format("<section><h2>{}</h2>{}", html_escaped(title), table(rows, is_prompt));
  if (rows.size() > 1) {
    out += fmt::format(
        "<div class=\"plots\"><figure><figcaption>Speed-up against devices; dashed: ideal"
        "</figcaption>{}</figure><figure><figcaption>Where the devices' time went</figcaption>{}{}"
        "</figure></div>",
        speedup_svg(rows, is_prompt), losses_svg(rows, is_prompt), legend(rows, is_prompt));
  }
  return out + "</section>";
}

}  // namespace

std::string bench_page(const BenchReport& report) {
  std::string out = page_head("tandem bench", kStyle + style_of_losses());
  out += fmt::format(
      "<h1>{} {}</h1><p class=\"soft\">{}. Tokens a second; medians of interleaved "
      "repetitions, warm-up left out.</p>",
      html_escaped(report.model), html_escaped(report.quantisation),
      html_escaped(hardware_of(report)));
  std::vector<std::int32_t> concurrencies;
  for (const BenchRow& row : report.rows) {
    if (concurrencies.empty() || concurrencies.back() != row.concurrency) {
      concurrencies.push_back(row.concurrency);
    }
  }
  for (std::size_t c = 0; c < concurrencies.size(); ++c) {
    std::vector<const BenchRow*> rows;
    for (const BenchRow& row : report.rows) {
      if (row.concurrency == concurrencies[c]) rows.push_back(&row);
    }
    if (c == 0)
      out += section(fmt::format("Prompt of {} tokens", report.prompt_tokens), rows, true);
    out += section(fmt::format("{} sequence{} decoding, {} tokens each", concurrencies[c],
                               concurrencies[c] == 1 ? "" : "s", report.gen_tokens),
                   rows, false);
  }
  out += ceilings_table(report.ceilings);
  out += fmt::format(
      "<figure><figcaption>Roofline: solid the ceilings of all devices together, dashed those of "
      "the first alone. <span class=\"key\"><i class=\"c0\"></i>one device</span><span "
      "class=\"key\"><i class=\"c1\"></i>tensor</span><span class=\"key\"><i class=\"c2\"></i>"
      "stages</span></figcaption>{}</figure>",
      roofline_svg(report));
  for (const std::string& note : report.notes) {
    out += "<p class=\"soft\">" + html_escaped(note) + "</p>";
  }
  return out + page_end();
}

}  // namespace tandem
