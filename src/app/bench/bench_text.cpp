#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "app/bench/bench_report.h"
#include "machine/device_list.h"

namespace tandem {
namespace {

// Losses below this are not named in the table.
constexpr double kNamedLoss = 0.01;
constexpr std::size_t kNamedCauses = 3;

std::string ceilings_text(const CeilingSurvey& survey) {
  std::string out = "Ceilings\n";
  for (const DeviceSetCeilings& set : survey.sets) {
    const std::string typical =
        set.typical_read_gbps > 0 ? fmt::format(" (typically {:.1f})", set.typical_read_gbps) : "";
    out +=
        fmt::format("  {:<16} reads {:>6.1f} GB/s{}   int8 {:>7.0f} Gop/s   bf16 {:>7} Gflop/s\n",
                    fmt::format("{}", fmt::join(set.devices, " + ")), set.rates.read_gbps, typical,
                    set.rates.int8_gops,
                    set.rates.bf16_gflops > 0 ? fmt::format("{:.0f}", set.rates.bf16_gflops)
                                              : std::string("none"));
  }
  for (const MeasuredLink& link : survey.links) {
    out += fmt::format(
        "  {} - {}, {}: a message takes {:.2f} us, 4 MiB pass at {:.1f} GB/s, a reduction {:.2f} "
        "us\n",
        link.a, link.b, words_for_transport(link.transport), link.latency_us, link.bandwidth_gbps,
        link.all_reduce_us);
  }
  return out;
}

std::string rate_text(std::optional<double> rate) {
  return rate ? fmt::format("{:.1f}", *rate) : std::string("-");
}

std::string row_text(const BenchRow& row, const BenchPhase& phase) {
  const std::string flag = phase.num_disturbed == 0
                               ? ""
                               : fmt::format("  ({} of {} repetitions disturbed)",
                                             phase.num_disturbed, phase.num_repetitions);
  const double spread =
      phase.tokens_per_s > 0 ? (phase.highest - phase.lowest) / phase.tokens_per_s / 2 : 0;
  return fmt::format(
      "  {:<18} {:>5.2f}x {:>9} {:>9.1f} {:>5.1f}% {:>7.2f}x {:>6.1f}% {:>6.1f}%  {}{}\n", row.plan,
      static_cast<double>(row.num_devices), rate_text(phase.predicted_tokens_per_s),
      phase.tokens_per_s, 100 * spread, phase.account.speedup, 100 * phase.account.efficiency,
      100 * phase.ceiling_fraction, describe_losses(phase), flag);
}

constexpr const char* kHeader =
    "  setup              theory predicted  measured  +-    speed-up  effic. ceiling  "
    "where the rest went\n";

}  // namespace

std::string describe_losses(const BenchPhase& phase) {
  const LossAccount& account = phase.account;
  std::vector<LossCause> causes;
  for (std::size_t i = 0; i < kNumLossCauses; ++i) {
    const auto cause = static_cast<LossCause>(i);
    if (account[cause] >= kNamedLoss) causes.push_back(cause);
  }
  std::sort(causes.begin(), causes.end(),
            [&](LossCause a, LossCause b) { return account[a] > account[b]; });
  if (causes.size() > kNamedCauses) causes.resize(kNamedCauses);
  std::string out;
  for (const LossCause cause : causes) {
    out +=
        fmt::format("{}{} {:.0f} %", out.empty() ? "" : ", ", text_of(cause), 100 * account[cause]);
    const bool names_rank = cause == LossCause::kImbalance || cause == LossCause::kThrottling;
    if (names_rank && account.slowest_rank) {
      out += fmt::format(" ({} takes {:.0f} % longer for its share)",
                         phase.times.ranks[*account.slowest_rank].device, 100 * account.slower_by);
    }
  }
  return out;
}

std::string hardware_of(const BenchReport& report) {
  std::map<std::string, int> counts;  // of GPUs; parts of one are one
  std::set<std::string> seen;
  bool has_cores = false;
  for (const MachineDevice& device : report.devices) {
    has_cores = has_cores || device.kind == MachineDeviceKind::kCpu;
    if (device.kind == MachineDeviceKind::kGpu && seen.insert(whole_device_id(device.id)).second) {
      ++counts[device.name];
    }
  }
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) {
    parts.push_back(count == 1 ? name : fmt::format("{} x {}", count, name));
  }
  if (has_cores) parts.push_back(report.processor);
  return fmt::format("{}", fmt::join(parts, " and "));
}

std::string bench_text(const BenchReport& report) {
  std::string out =
      fmt::format("{} {} on {}\n", report.model, report.quantisation, hardware_of(report));
  out += ceilings_text(report.ceilings);
  out += fmt::format("\nPrompt of {} tokens, tokens/s\n{}", report.prompt_tokens, kHeader);
  const std::int32_t first = report.rows.empty() ? 0 : report.rows.front().concurrency;
  for (const BenchRow& row : report.rows) {
    if (row.concurrency == first) out += row_text(row, row.prefill);
  }
  std::int32_t previous = 0;
  for (const BenchRow& row : report.rows) {
    if (row.concurrency != previous) {
      out +=
          fmt::format("\n{} sequence{} decoding, {} tokens each, tokens/s together\n{}",
                      row.concurrency, row.concurrency == 1 ? "" : "s", report.gen_tokens, kHeader);
    }
    previous = row.concurrency;
    out += row_text(row, row.decode);
  }
  for (const std::string& note : report.notes) out += "note: " + note + "\n";
  return out;
}

}  // namespace tandem
