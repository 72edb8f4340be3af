#include <nlohmann/json.hpp>

#include "machine/machine_json.h"
#include "machine/report/doctor_report.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// What the driver says beyond the contract's fields, of each GPU.
Json gpu_details(const Survey& survey) {
  Json list = Json::array();
  for (int i = 0; i < static_cast<int>(survey.gpus.size()); ++i) {
    const GpuFacts& gpu = survey.gpus[static_cast<std::size_t>(i)];
    list.push_back({{"id", survey.gpu_id(i)},
                    {"uuid", or_null(gpu.uuid)},
                    {"serial", or_null(gpu.serial)},
                    {"memory_used_bytes", or_null(gpu.memory_used_bytes)},
                    {"temperature_c", or_null(gpu.thermals.temperature_c)},
                    {"power_draw_w", or_null(gpu.power.draw_w)},
                    {"performance_state", or_null(gpu.performance_state)},
                    {"replays", or_null(gpu.replays)},
                    {"has_driver", or_null(gpu.has_driver)}});
  }
  return list;
}

}  // namespace

Json doctor_json(const Survey& survey, const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings)
    list.push_back({{"id", finding.id},
                    {"severity", name_of(finding.severity)},
                    {"subject", finding.subject},
                    {"title", finding.title},
                    {"evidence", finding.evidence},
                    {"advice", finding.advice},
                    {"confidence", finding.confidence}});
  Json sources = Json::array();
  for (const SourceNote& source : survey.sources)
    sources.push_back({{"name", source.name}, {"kind", source.kind}, {"note", source.note}});
  return {{"machine", machine_to_json(survey.machine)},
          {"findings", std::move(list)},
          {"verdict", name_of(verdict_of(findings))},
          {"gpus", gpu_details(survey)},
          {"driver_version", or_null(survey.host.driver_version)},
          {"sources", std::move(sources)}};
}

}  // namespace tandem
