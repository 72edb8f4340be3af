#include "plan/kernel_costs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/median.h"
#include "machine/json_reader.h"

namespace tandem {
namespace {

double cost_of(const RowCost& cost, bool together) {
  return together ? cost.together : cost.alone;
}

double bits_of(ElementType type) {
  const ElementTypeTraits& traits = traits_of(type);
  return static_cast<double>(traits.block_bytes) / traits.block_elements;
}

// [rows, alone, together], in ascending order of rows.
Result<RowCost> row_cost_from_json(const nlohmann::json& json, const std::string& where,
                                   double rows_before) {
  const auto is_number = [](const nlohmann::json& value) {
    return value.is_number() && value.get<double>() >= 0 && value.get<double>() < 1e9;
  };
  if (!json.is_array() || json.size() != 3 || !is_number(json[0]) || !is_number(json[1]) ||
      !is_number(json[2]) || !(json[0].get<double>() > rows_before)) {
    return malformed(where + ".rows", "not a cost of rows",
                     "[rows, alone, together], with more rows in each", json.dump());
  }
  return RowCost{json[0].get<double>(), json[1].get<double>(), json[2].get<double>()};
}

}  // namespace

double processor_product_rate(ElementType type, double int8, double bf16, double float32) {
  if (traits_of(type).is_quantised) return int8;
  // Kernels multiply bfloat16 where the processor has it; float16 is widened to float32.
  return type == ElementType::kBF16 && bf16 > 0 ? bf16 : float32;
}

double arithmetic_rows(const KernelCosts& kernel, double rows, bool together) {
  if (kernel.rows.empty()) return 0;
  const RowCost* before = nullptr;
  for (const RowCost& after : kernel.rows) {
    if (rows > after.rows) {
      before = &after;
      continue;
    }
    if (before == nullptr) return cost_of(after, together);
    const double part = (rows - before->rows) / (after.rows - before->rows);
    const double low = cost_of(*before, together);
    return low + part * (cost_of(after, together) - low);
  }
  return cost_of(*before, together) * rows / before->rows;
}

double overlapped(const KernelCosts& kernel, double reading_s, double arithmetic_s) {
  return std::max(reading_s, arithmetic_s) +
         (1 - kernel.overlap) * std::min(reading_s, arithmetic_s);
}

const KernelCosts* find_kernel(std::span<const KernelCosts> kernels, ElementType type) {
  const KernelCosts* best = nullptr;
  double least = std::numeric_limits<double>::max();
  for (const KernelCosts& kernel : kernels) {
    if (kernel.type == type) return &kernel;
    constexpr double kOtherKind = 100;  // more than any two sizes differ by
    const bool same_kind = traits_of(kernel.type).is_quantised == traits_of(type).is_quantised;
    const double apart =
        std::abs(bits_of(kernel.type) - bits_of(type)) + (same_kind ? 0 : kOtherKind);
    if (apart < least) {
      least = apart;
      best = &kernel;
    }
  }
  return best;
}

namespace {

// Seconds of reading that explain the first row.
double reading_s(const MemoryTimes& times, double overlap) {
  const MemoryTimes::Row& one = times.rows.front();
  const double if_longer = one.seconds - (1 - overlap) * one.arithmetic_s;
  return if_longer > one.arithmetic_s ? if_longer : times.bytes / (1e9 * times.read_gbps);
}

}  // namespace

double read_share(const MemoryTimes& times, double overlap) {
  return times.bytes / (1e9 * times.read_gbps * reading_s(times, overlap));
}

double overlap_of(const MemoryTimes& times) {
  constexpr int kRounds = 20;  // reading follows from the overlap, which follows from reading
  double overlap = 1;
  for (int round = 0; round < kRounds; ++round) {
    const double reading = reading_s(times, overlap);
    std::vector<double> found;
    for (std::size_t i = 1; i < times.rows.size(); ++i) {
      const auto& row = times.rows[i];
      const double longer = std::max(reading, row.arithmetic_s);
      const double shorter = std::min(reading, row.arithmetic_s);
      if (shorter > 0) found.push_back(1 - (row.seconds - longer) / shorter);
    }
    if (found.empty()) return 1;
    overlap = std::clamp(median(std::move(found)), 0.0, 1.0);
  }
  return overlap;
}

nlohmann::json to_json(const KernelCosts& kernel) {
  nlohmann::json rows = nlohmann::json::array();
  for (const RowCost& cost : kernel.rows) rows.push_back({cost.rows, cost.alone, cost.together});
  return {{"type", std::string(traits_of(kernel.type).name)},
          {"read", kernel.read},
          {"shared_read", kernel.shared_read},
          {"overlap", kernel.overlap},
          {"rows", std::move(rows)}};
}

Result<KernelCosts> kernel_costs_from_json(const nlohmann::json& json, const std::string& where) {
  JsonReader reader(json, where);
  KernelCosts kernel;
  const auto type = element_type_from_name(reader.get<std::string>("type").value_or(""));
  if (!type) reader.fail("type", "the name of a type of weights");
  kernel.read = reader.get<double>("read").value_or(0);
  kernel.shared_read = reader.get<double>("shared_read").value_or(0);
  kernel.overlap = reader.get<double>("overlap").value_or(-1);
  if (!(kernel.overlap >= 0 && kernel.overlap <= 1)) reader.fail("overlap", "0 to 1");
  if (!(kernel.read > 0)) reader.fail("read", "above 0");
  if (!(kernel.shared_read > 0)) reader.fail("shared_read", "above 0");
  const nlohmann::json* rows = reader.array("rows");
  if (rows == nullptr) reader.fail("rows", "a list");
  TANDEM_TRY_STATUS(reader.status());
  kernel.type = *type;
  double before = 0;
  for (const nlohmann::json& row : *rows) {
    TANDEM_TRY(const RowCost cost, row_cost_from_json(row, where, before));
    before = cost.rows;
    kernel.rows.push_back(cost);
  }
  return kernel;
}

}  // namespace tandem
