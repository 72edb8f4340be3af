#include "support/reference_model.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace tandem::test {
namespace {

Result<nlohmann::json> read_json(const std::filesystem::path& path) {
  std::ifstream stream(path);
  auto json = nlohmann::json::parse(stream, nullptr, false);
  if (json.is_discarded()) return malformed(path.string(), "not JSON");
  return json;
}

Result<ReferencePrompt> load_prompt(const std::filesystem::path& folder, const std::string& name) {
  TANDEM_TRY(const auto json, read_json(folder / (name + ".json")));
  ReferencePrompt prompt;
  prompt.name = name;
  json.at("tokens").get_to(prompt.tokens);
  json.at("exact_positions").get_to(prompt.exact_positions);
  json.at("greedy").get_to(prompt.greedy);
  json.at("greedy_second").get_to(prompt.greedy_second);
  json.at("exact_greedy_gap").get_to(prompt.exact_greedy_gap);
  json.at("logit_sd").get_to(prompt.logit_sd);
  TANDEM_TRY(prompt.exact, read_npy(folder / (name + ".exact.npy")));
  return prompt;
}

}  // namespace

std::filesystem::path reference_folder() {
  const std::filesystem::path shared = std::filesystem::path(TANDEM_SHARED_DIR) / "reference";
  if (std::filesystem::exists(shared / "tolerances.json")) return shared;
  return std::filesystem::path(TANDEM_SOURCE_DIR) / "tests" / "reference";
}

bool has_all_references() {
  return std::filesystem::exists(std::filesystem::path(TANDEM_SHARED_DIR) / "reference");
}

std::vector<std::string> reference_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(reference_folder() / "models")) {
    if (entry.path().extension() == ".gguf") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<ReferenceModel> load_reference(const std::string& name) {
  const auto folder = reference_folder();
  ReferenceModel model;
  model.name = name;
  TANDEM_TRY(model.file, GgufFile::open(folder / "models" / (name + ".gguf")));
  TANDEM_TRY(model.spec, model_spec_from_gguf(*model.file));
  TANDEM_TRY(const auto tolerances, read_json(folder / "tolerances.json"));
  tolerances.at(name).at("float").get_to(model.float_tolerance);
  tolerances.at(name).at("int8").get_to(model.int8_tolerance);
  for (const char* prompt : {"p1", "p7", "p40", "p130"}) {
    const auto expected = folder / "expected" / name;
    if (!std::filesystem::exists(expected / (std::string(prompt) + ".json"))) continue;
    TANDEM_TRY(ReferencePrompt loaded, load_prompt(expected, prompt));
    model.prompts.push_back(std::move(loaded));
  }
  return model;
}

double nmse(const std::vector<float>& got, const std::vector<float>& expected) {
  double difference = 0;
  double power = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double delta = static_cast<double>(got[i]) - expected[i];
    difference += delta * delta;
    power += static_cast<double>(expected[i]) * expected[i];
  }
  return difference / power;
}

}  // namespace tandem::test
