#pragma once

#include "plan/backtest.h"
#include "plan/csv.h"

namespace tandem {

// Reads one row of the table and predicts it, or says why it cannot be used.
BacktestRow predict_row(const CsvRow& row);

}  // namespace tandem
