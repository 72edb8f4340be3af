#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace tandem {

// A published measurement beside its prediction. Figures that the row lacks are nullopt.
struct BacktestRow {
  std::string line;  // of the file
  std::string source;
  std::string engine;
  std::string profile;  // of data/engines.json
  std::string model;
  std::string quant;
  std::string gpus;
  std::string gpu_kind;  // architecture, or "mixed"
  std::string split;
  std::int64_t prompt_tokens = 0;
  std::int32_t concurrency = 1;
  std::int32_t num_gpus = 1;
  std::optional<double> measured_prefill;
  std::optional<double> measured_decode;
  std::optional<double> predicted_prefill;
  std::optional<double> predicted_decode;
  double low = 0;
  double high = 0;
  std::string why_unused;  // empty: used
};

// Errors |predicted / measured - 1| of a group of rows.
struct ErrorSummary {
  std::string group;
  int decode_rows = 0;
  double decode_median = 0;
  double decode_p90 = 0;
  int prefill_rows = 0;
  double prefill_median = 0;
  double prefill_p90 = 0;
  double within_range = 0;  // share of decode rows between low and high
};

struct Backtest {
  std::vector<BacktestRow> rows;
  std::vector<ErrorSummary> by_engine;
  std::vector<ErrorSummary> by_split;     // llama.cpp, single stream
  std::vector<ErrorSummary> by_gpu_kind;  // llama.cpp, single stream
  ErrorSummary single_stream;             // llama.cpp, single stream, all
  int speedup_pairs = 0;  // N GPUs over 1 of the same source, model, quantisation and prompt
  double speedup_median = 0;
  double speedup_p90 = 0;
};

// Predicts each usable row of a table of published measurements: columns engine, date, model,
// quant, gpus, n_gpus, link, p2p, split_mode, batch_or_concurrency, context_or_prompt_tokens,
// gen_tokens, prefill_tps, decode_tps, power_limit_w, notes, source. Rows that cannot be used stay
// in the result with the reason.
Result<Backtest> run_backtest(std::string_view csv);

std::string backtest_text(const Backtest& backtest);
nlohmann::json backtest_json(const Backtest& backtest);

}  // namespace tandem
