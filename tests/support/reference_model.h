#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/gguf_file.h"
#include "model/model_spec.h"
#include "support/npy_reader.h"

namespace tandem::test {

// One prompt of a reference model with what an exact float64 forward pass makes of it.
struct ReferencePrompt {
  std::string name;  // "p40"
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> exact_positions;
  NpyMatrix exact;                   // [exact_positions, vocabulary]
  std::vector<std::int32_t> greedy;  // 16 tokens generated one at a time
  std::vector<std::int32_t> greedy_second;
  std::vector<double> exact_greedy_gap;  // top 1 - top 2
  double logit_sd = 0;
};

struct ReferenceModel {
  std::string name;
  std::shared_ptr<const GgufFile> file;
  ModelSpec spec;
  double float_tolerance = 0;  // NMSE against exact, over all stored rows
  double int8_tolerance = 0;
  std::vector<ReferencePrompt> prompts;
};

// The folder with all reference models where it is present, else the selection in the repository.
std::filesystem::path reference_folder();
bool has_all_references();
// Their names, sorted.
std::vector<std::string> reference_names();
Result<ReferenceModel> load_reference(const std::string& name);

// sum((a - b)^2) / sum(b^2)
double nmse(const std::vector<float>& got, const std::vector<float>& expected);

}  // namespace tandem::test
