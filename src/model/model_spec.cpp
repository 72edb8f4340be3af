#include "model/model_spec.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace tandem {
namespace {

struct ArchitectureName {
  Architecture architecture;
  std::string_view name;
};

constexpr std::array kArchitectures = {
    ArchitectureName{Architecture::kLlama, "llama"},
    ArchitectureName{Architecture::kQwen2, "qwen2"},
    ArchitectureName{Architecture::kQwen3, "qwen3"},
    ArchitectureName{Architecture::kQwen3Moe, "qwen3moe"},
    ArchitectureName{Architecture::kGemma2, "gemma2"},
    ArchitectureName{Architecture::kGemma3, "gemma3"},
    ArchitectureName{Architecture::kPhi3, "phi3"},
};

}  // namespace

std::string_view name_of(Architecture architecture) {
  for (const auto& entry : kArchitectures) {
    if (entry.architecture == architecture) return entry.name;
  }
  return "unknown";
}

std::optional<Architecture> architecture_from_name(std::string_view name) {
  for (const auto& entry : kArchitectures) {
    if (entry.name == name) return entry.architecture;
  }
  return std::nullopt;
}

std::string supported_architectures() {
  std::string list;
  for (const auto& entry : kArchitectures) {
    if (!list.empty()) list += ", ";
    list += entry.name;
  }
  return list;
}

std::int64_t TensorSpec::size_bytes() const {
  const auto row_bytes = bytes_of(type, columns);
  TANDEM_CHECK(row_bytes.has_value(), "tensor " + name + " is no whole number of blocks");
  return *row_bytes * rows * num_experts;
}

std::int32_t ModelSpec::window_of(std::int32_t layer) const {
  const std::int32_t period = attention.window_period;
  if (attention.window <= 0 || period <= 0) return 0;
  if (period == 1) return attention.window;
  return layer % period == period - 1 ? 0 : attention.window;
}

const TensorSpec* ModelSpec::find(TensorRole role, std::int32_t layer) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorSpec& tensor) {
    return tensor.role == role && tensor.layer == layer;
  });
  return found == tensors.end() ? nullptr : &*found;
}

std::int64_t ModelSpec::num_parameters() const {
  std::int64_t total = 0;
  for (const TensorSpec& tensor : tensors) {
    total += tensor.num_experts * tensor.rows * tensor.columns;
  }
  return total;
}

std::int64_t ModelSpec::weight_bytes() const {
  std::int64_t total = 0;
  for (const TensorSpec& tensor : tensors) total += tensor.size_bytes();
  return total;
}

}  // namespace tandem
