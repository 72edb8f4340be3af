#include <nlohmann/json.hpp>

#include "app/bench/bench_report.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

Json rates_json(const DeviceSetCeilings& set) {
  const Ceilings& rates = set.rates;
  return {{"read_gbps", rates.read_gbps},
          {"typical_read_gbps", set.typical_read_gbps},
          {"read_pattern", rates.read_pattern},
          {"int8_gops", rates.int8_gops},
          {"bf16_gflops", rates.bf16_gflops > 0 ? Json(rates.bf16_gflops) : Json()},
          {"float_gflops", rates.float_gflops},
          {"spread", rates.spread},
          {"disturbed", set.is_disturbed}};
}

// By device, and "links"; sets of several devices under "together".
Json ceilings_json(const CeilingSurvey& survey) {
  Json json = Json::object();
  Json together = Json::array();
  for (const DeviceSetCeilings& set : survey.sets) {
    if (set.devices.size() == 1) {
      json[set.devices[0]] = rates_json(set);
      continue;
    }
    Json entry = rates_json(set);
    entry["devices"] = set.devices;
    together.push_back(std::move(entry));
  }
  Json links = Json::array();
  for (const MeasuredLink& link : survey.links) {
    links.push_back({{"a", link.a},
                     {"b", link.b},
                     {"transport", link.transport},
                     {"latency_us", link.latency_us},
                     {"bandwidth_gbps", link.bandwidth_gbps},
                     {"all_reduce_us", link.all_reduce_us}});
  }
  json["together"] = std::move(together);
  json["links"] = std::move(links);
  return json;
}

Json losses_json(const LossAccount& account) {
  Json json = Json::object();
  for (std::size_t i = 0; i < kNumLossCauses; ++i) {
    json[std::string(name_of(static_cast<LossCause>(i)))] = account.losses[i];
  }
  return json;
}

Json main_cause_json(const LossAccount& account) {
  const auto cause = account.main_cause();
  return cause ? Json(std::string(name_of(*cause))) : Json();
}

Json optional_json(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json ranks_json(const RunTimes& times) {
  Json ranks = Json::array();
  for (const RankTimes& rank : times.ranks) {
    ranks.push_back({{"device", rank.device},
                     {"stage", rank.stage},
                     {"compute_s", rank.compute},
                     {"wait_s", rank.wait},
                     {"reduce_s", rank.reduce},
                     {"stage_wait_s", rank.stage_wait},
                     {"transfer_s", rank.transfer},
                     {"output_s", rank.output}});
  }
  return ranks;
}

Json phase_json(const BenchPhase& phase) {
  const LossAccount& account = phase.account;
  const auto& slowest = account.slowest_rank;
  return {{"tokens_per_s", phase.tokens_per_s},
          {"lowest", phase.lowest},
          {"highest", phase.highest},
          {"repetitions", phase.num_repetitions},
          {"disturbed_repetitions", phase.num_disturbed},
          {"predicted_tokens_per_s", optional_json(phase.predicted_tokens_per_s)},
          {"speedup", account.speedup},
          {"efficiency", account.efficiency},
          {"ceiling_fraction", phase.ceiling_fraction},
          {"losses", losses_json(account)},
          {"main_cause", main_cause_json(account)},
          {"slowest_device", slowest ? Json(phase.times.ranks[*slowest].device) : Json()},
          {"slower_by", slowest ? Json(account.slower_by) : Json()},
          {"wall_s", phase.times.wall},
          {"ranks", ranks_json(phase.times)}};
}

}  // namespace

Json bench_json(const BenchReport& report) {
  Json rows = Json::array();
  for (const BenchRow& row : report.rows) {
    const LossAccount& account = row.decode.account;
    rows.push_back(
        {{"plan", row.plan},
         {"devices", row.devices},
         {"num_devices", row.num_devices},
         {"concurrency", row.concurrency},
         {"prefill_tokens_per_s", row.prefill.tokens_per_s},
         {"decode_tokens_per_s", row.decode.tokens_per_s},
         {"predicted_prefill_tokens_per_s", optional_json(row.prefill.predicted_tokens_per_s)},
         {"predicted_decode_tokens_per_s", optional_json(row.decode.predicted_tokens_per_s)},
         {"theoretical_speedup", row.num_devices},
         {"speedup", account.speedup},
         {"efficiency", account.efficiency},
         {"ceiling_fraction", row.decode.ceiling_fraction},
         {"losses", losses_json(account)},
         {"main_cause", main_cause_json(account)},
         {"prefill", phase_json(row.prefill)},
         {"decode", phase_json(row.decode)}});
  }
  Json devices = Json::array();
  for (const MachineDevice& device : report.devices) {
    devices.push_back({{"id", device.id}, {"name", device.name}});
  }
  return {{"model", {{"name", report.model}, {"quantisation", report.quantisation}}},
          {"processor", report.processor},
          {"devices", std::move(devices)},
          {"prompt_tokens", report.prompt_tokens},
          {"gen_tokens", report.gen_tokens},
          {"ceilings", ceilings_json(report.ceilings)},
          {"rows", std::move(rows)},
          {"notes", report.notes}};
}

}  // namespace tandem
