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
  bool held_out = false;  // its source was not used to fit constants
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

// Pairs of N GPUs and one of the same source, model, quantisation and prompt: errors of the ratio.
struct SpeedupSummary {
  int pairs = 0;
  double median = 0;
  double p90 = 0;
};

struct Backtest {
  std::vector<BacktestRow> rows;
  std::vector<ErrorSummary> by_engine;
  std::vector<ErrorSummary> by_split;     // llama.cpp, single stream
  std::vector<ErrorSummary> by_gpu_kind;  // llama.cpp, single stream
  std::vector<ErrorSummary> by_age;       // llama.cpp, single stream: profile, fitted or held out
  ErrorSummary single_stream;             // llama.cpp, single stream, all
  ErrorSummary fitted;                    // of those, sources that constants were fitted to
  ErrorSummary held_out;                  // and the others
  SpeedupSummary speedup;
  SpeedupSummary speedup_held_out;
};

// Is a source kept from fits? Decided by its name alone: those whose 64-bit FNV-1a hash is odd.
bool is_held_out(std::string_view source);

// Predicts each usable row of a table of published measurements: columns engine, date, model,
// quant, gpus, n_gpus, link, p2p, split_mode, batch_or_concurrency, context_or_prompt_tokens,
// gen_tokens, prefill_tps, decode_tps, power_limit_w, notes, source. Rows that cannot be used stay
// in the result with the reason.
Result<Backtest> run_backtest(std::string_view csv);

std::string backtest_text(const Backtest& backtest);
nlohmann::json backtest_json(const Backtest& backtest);

}  // namespace tandem
