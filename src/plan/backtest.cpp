#include "plan/backtest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "plan/backtest_row.h"
#include "plan/csv.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxRows = 200000;
constexpr std::size_t kWorstRows = 25;

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto index = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  return values[index];
}

double error_of(double predicted, double measured) {
  return std::abs(predicted / measured - 1);
}

ErrorSummary summary_of(const std::string& group, const std::vector<const BacktestRow*>& rows) {
  std::vector<double> decode;
  std::vector<double> prefill;
  double inside = 0;
  for (const BacktestRow* row : rows) {
    if (row->predicted_decode) {
      decode.push_back(error_of(*row->predicted_decode, *row->measured_decode));
      inside += *row->measured_decode >= row->low && *row->measured_decode <= row->high ? 1 : 0;
    }
    if (row->predicted_prefill) {
      prefill.push_back(error_of(*row->predicted_prefill, *row->measured_prefill));
    }
  }
  ErrorSummary out;
  out.group = group;
  out.decode_rows = static_cast<int>(decode.size());
  out.decode_median = quantile(decode, 0.5);
  out.decode_p90 = quantile(decode, 0.9);
  out.prefill_rows = static_cast<int>(prefill.size());
  out.prefill_median = quantile(prefill, 0.5);
  out.prefill_p90 = quantile(prefill, 0.9);
  out.within_range = decode.empty() ? 0 : inside / static_cast<double>(decode.size());
  return out;
}

template <typename Key>
std::vector<ErrorSummary> grouped(const std::vector<const BacktestRow*>& rows, Key key) {
  std::map<std::string, std::vector<const BacktestRow*>> groups;
  for (const BacktestRow* row : rows) groups[key(*row)].push_back(row);
  std::vector<ErrorSummary> out;
  for (const auto& [name, members] : groups) out.push_back(summary_of(name, members));
  return out;
}

bool is_single_stream_llama(const BacktestRow& row) {
  return row.why_unused.empty() && row.concurrency == 1 && row.profile.starts_with("llama.cpp");
}

// "4x RTX 3090 24GB" -> "RTX 3090 24GB".
std::string one_of(const std::string& gpus) {
  const std::size_t at = gpus.find("x ");
  return at != std::string::npos && at <= 2 ? gpus.substr(at + 2) : gpus;
}

SpeedupSummary speedup_summary(const std::vector<double>& errors) {
  return {static_cast<int>(errors.size()), quantile(errors, 0.5), quantile(errors, 0.9)};
}

void compare_speedups(Backtest& backtest) {
  std::map<std::string, const BacktestRow*> singles;
  const auto key = [](const BacktestRow& row) {
    return row.source + '|' + row.model + '|' + row.quant + '|' + one_of(row.gpus) + '|' +
           std::to_string(row.prompt_tokens);
  };
  for (const BacktestRow& row : backtest.rows) {
    if (is_single_stream_llama(row) && row.num_gpus == 1 && row.predicted_decode) {
      singles[key(row)] = &row;
    }
  }
  std::vector<double> errors;
  std::vector<double> held_out;
  for (const BacktestRow& row : backtest.rows) {
    if (!is_single_stream_llama(row) || row.num_gpus < 2 || !row.predicted_decode) continue;
    const auto single = singles.find(key(row));
    if (single == singles.end()) continue;
    const BacktestRow& one = *single->second;
    errors.push_back(error_of(*row.predicted_decode / *one.predicted_decode,
                              *row.measured_decode / *one.measured_decode));
    if (row.held_out) held_out.push_back(errors.back());
  }
  backtest.speedup = speedup_summary(errors);
  backtest.speedup_held_out = speedup_summary(held_out);
}

std::string summary_line(const ErrorSummary& summary) {
  return fmt::format("{:<28} {:>6} {:>8.1f} {:>8.1f} {:>9.0f} {:>8} {:>8.1f} {:>8.1f}\n",
                     summary.group, summary.decode_rows, 100 * summary.decode_median,
                     100 * summary.decode_p90, 100 * summary.within_range, summary.prefill_rows,
                     100 * summary.prefill_median, 100 * summary.prefill_p90);
}

nlohmann::json summary_json(const ErrorSummary& summary) {
  return {{"group", summary.group},
          {"decode",
           {{"rows", summary.decode_rows},
            {"median_error", summary.decode_median},
            {"p90_error", summary.decode_p90},
            {"within_range", summary.within_range}}},
          {"prefill",
           {{"rows", summary.prefill_rows},
            {"median_error", summary.prefill_median},
            {"p90_error", summary.prefill_p90}}}};
}

nlohmann::json speedup_json(const SpeedupSummary& summary) {
  return {{"pairs", summary.pairs}, {"median_error", summary.median}, {"p90_error", summary.p90}};
}

template <typename T>
nlohmann::json or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

std::vector<const BacktestRow*> worst_rows(const Backtest& backtest) {
  std::vector<std::pair<double, const BacktestRow*>> order;
  for (const BacktestRow& row : backtest.rows) {
    if (!is_single_stream_llama(row)) continue;
    double worst = 0;
    if (row.predicted_decode) worst = error_of(*row.predicted_decode, *row.measured_decode);
    if (row.predicted_prefill) {
      worst = std::max(worst, error_of(*row.predicted_prefill, *row.measured_prefill));
    }
    order.emplace_back(worst, &row);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<const BacktestRow*> out;
  for (std::size_t i = 0; i < std::min(kWorstRows, order.size()); ++i) {
    out.push_back(order[i].second);
  }
  return out;
}

std::string pair_text(const std::optional<double>& predicted,
                      const std::optional<double>& measured) {
  if (!predicted || !measured) return "-";
  return fmt::format("{:.1f} / {:.1f} ({:+.0f} %)", *predicted, *measured,
                     100 * (*predicted / *measured - 1));
}

}  // namespace

bool is_held_out(std::string_view source) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : source) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return hash % 2 == 1;
}

Result<Backtest> run_backtest(std::string_view csv) {
  TANDEM_TRY(const auto table, parse_csv(csv));
  if (table.size() > kMaxRows) return unsupported("CSV", "too many rows");
  if (!table.empty()) {
    for (const char* column : {"engine", "model", "quant", "gpus", "split_mode", "decode_tps"}) {
      if (!table.front().contains(column)) {
        return malformed("CSV", "a column is missing", column);
      }
    }
  }
  Backtest out;
  for (const CsvRow& row : table) out.rows.push_back(predict_row(row));
  std::vector<const BacktestRow*> used;
  std::vector<const BacktestRow*> single;
  for (const BacktestRow& row : out.rows) {
    if (row.why_unused.empty()) used.push_back(&row);
    if (is_single_stream_llama(row)) single.push_back(&row);
  }
  out.by_engine = grouped(used, [](const BacktestRow& row) {
    return row.profile + (row.concurrency == 1 ? ", 1 stream" : ", many streams");
  });
  out.by_split = grouped(single, [](const BacktestRow& row) {
    return row.num_gpus == 1 ? std::string("none") : row.split;
  });
  out.by_gpu_kind = grouped(single, [](const BacktestRow& row) { return row.gpu_kind; });
  out.by_age = grouped(single, [](const BacktestRow& row) {
    return row.profile + (row.held_out ? ", held out" : ", fitted");
  });
  out.single_stream = summary_of("llama.cpp, one stream", single);
  std::vector<const BacktestRow*> kept;
  std::vector<const BacktestRow*> used_in_fit;
  for (const BacktestRow* row : single) (row->held_out ? kept : used_in_fit).push_back(row);
  out.fitted = summary_of("  sources of the fit", used_in_fit);
  out.held_out = summary_of("  held-out sources", kept);
  compare_speedups(out);
  return out;
}

std::string backtest_text(const Backtest& backtest) {
  std::string out =
      fmt::format("{:<28} {:>6} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8}\n", "group", "decode",
                  "median %", "p90 %", "in range%", "prefill", "median %", "p90 %");
  for (const ErrorSummary& summary : {backtest.single_stream, backtest.fitted, backtest.held_out}) {
    out += summary_line(summary);
  }
  const auto section = [&](const char* title, const std::vector<ErrorSummary>& summaries) {
    out += fmt::format("\n{}\n", title);
    for (const ErrorSummary& summary : summaries) out += summary_line(summary);
  };
  section("by profile (llama.cpp, one stream)", backtest.by_age);
  section("by engine", backtest.by_engine);
  section("by split (llama.cpp, one stream)", backtest.by_split);
  section("by GPU kind (llama.cpp, one stream)", backtest.by_gpu_kind);
  const auto speedup = [&out](const char* what, const SpeedupSummary& summary) {
    out += fmt::format("{}: {} pairs, median error {:.1f} %, p90 {:.1f} %\n", what, summary.pairs,
                       100 * summary.median, 100 * summary.p90);
  };
  speedup("\nspeed-up of N GPUs over 1 of the same source", backtest.speedup);
  speedup("  of held-out sources", backtest.speedup_held_out);
  out += "\nworst rows (predicted / measured)\n";
  for (const BacktestRow* row : worst_rows(backtest)) {
    out +=
        fmt::format("line {:>4}  {:<22} {:<10} {:<28} {:<7} decode {:<24} prefill {}\n", row->line,
                    row->model.substr(0, 22), row->quant.substr(0, 10), row->gpus.substr(0, 28),
                    row->split.substr(0, 7), pair_text(row->predicted_decode, row->measured_decode),
                    pair_text(row->predicted_prefill, row->measured_prefill));
  }
  std::map<std::string, std::vector<std::string>> reasons;
  std::size_t used = 0;
  for (const BacktestRow& row : backtest.rows) {
    if (row.why_unused.empty()) {
      ++used;
    } else {
      reasons[row.why_unused].push_back(row.line);
    }
  }
  out += fmt::format("\n{} of {} rows used; not used, by reason (lines):\n", used,
                     backtest.rows.size());
  for (const auto& [reason, lines] : reasons) {
    out += fmt::format("{:>4}  {} ({}{})\n", lines.size(), reason,
                       fmt::join(lines.begin(),
                                 lines.begin() + static_cast<std::ptrdiff_t>(
                                                     std::min<std::size_t>(lines.size(), 8)),
                                 " "),
                       lines.size() > 8 ? " ..." : "");
  }
  return out;
}

nlohmann::json backtest_json(const Backtest& backtest) {
  using Json = nlohmann::json;
  const auto list = [](const std::vector<ErrorSummary>& summaries) {
    Json out = Json::array();
    for (const ErrorSummary& summary : summaries) out.push_back(summary_json(summary));
    return out;
  };
  Json rows = Json::array();
  for (const BacktestRow& row : backtest.rows) {
    rows.push_back({{"line", row.line},
                    {"source", row.source},
                    {"engine", row.engine},
                    {"model", row.model},
                    {"quant", row.quant},
                    {"gpus", row.gpus},
                    {"split", row.split},
                    {"concurrency", row.concurrency},
                    {"profile", row.profile},
                    {"held_out", row.held_out},
                    {"measured_prefill_tokens_per_s", or_null(row.measured_prefill)},
                    {"predicted_prefill_tokens_per_s", or_null(row.predicted_prefill)},
                    {"measured_decode_tokens_per_s", or_null(row.measured_decode)},
                    {"predicted_decode_tokens_per_s", or_null(row.predicted_decode)},
                    {"low", row.low},
                    {"high", row.high},
                    {"why_unused", row.why_unused.empty() ? Json(nullptr) : Json(row.why_unused)}});
  }
  return {{"single_stream", summary_json(backtest.single_stream)},
          {"by_engine", list(backtest.by_engine)},
          {"by_split", list(backtest.by_split)},
          {"by_gpu_kind", list(backtest.by_gpu_kind)},
          {"by_profile", list(backtest.by_age)},
          {"fitted", summary_json(backtest.fitted)},
          {"held_out", summary_json(backtest.held_out)},
          {"speedup", speedup_json(backtest.speedup)},
          {"speedup_held_out", speedup_json(backtest.speedup_held_out)},
          {"rows", std::move(rows)}};
}

}  // namespace tandem
