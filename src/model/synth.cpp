#include "model/synth.h"

#include <fmt/format.h>

#include "base/units.h"
#include "gguf/gguf_file.h"
#include "gguf/gguf_writer.h"
#include "model/model_metadata.h"
#include "model/synth_tokenizer.h"
#include "model/synth_weights.h"
#include "model/tensor_names.h"

namespace tandem {
namespace {

// GGUF's order, fastest first: columns, rows, experts.
std::vector<std::int64_t> dims_of(const TensorSpec& tensor) {
  std::vector<std::int64_t> dims = {tensor.columns};
  if (tensor.rows > 1 || tensor.num_experts > 1) dims.push_back(tensor.rows);
  if (tensor.num_experts > 1) dims.push_back(tensor.num_experts);
  return dims;
}

Status expect_room_for(const std::filesystem::path& output, std::int64_t file_bytes) {
  std::error_code error;
  const auto folder = output.has_parent_path() ? output.parent_path() : std::filesystem::path(".");
  const auto space = std::filesystem::space(folder, error);
  if (error || space.available >= static_cast<std::uintmax_t>(file_bytes)) return {};
  return Error{ErrorCode::kIo, "not enough room on the disk", output.string(),
               format_bytes(file_bytes),
               format_bytes(static_cast<std::int64_t>(space.available)) + " available"};
}

ModelSpec spec_of(const SynthOptions& options) {
  ModelSpec spec = options.shape.spec;
  assign_tensors(spec, options.type, options.pure);
  if (const auto count = static_cast<std::int64_t>(options.shape.rope_factors.size()); count > 0) {
    spec.tensors.push_back({tensor_name(TensorRole::kRopeFactors, -1), TensorRole::kRopeFactors, -1,
                            ElementType::kF32, 1, 1, count});
  }
  return spec;
}

}  // namespace

Result<SynthReport> synthesise_model(const SynthOptions& options,
                                     const std::filesystem::path& output) {
  SynthReport report;
  report.spec = spec_of(options);
  GgufWriter writer;
  set_model_metadata(writer, report.spec, options.type);
  if (options.tokenizer_from) {
    TANDEM_TRY(const auto source, GgufFile::open(*options.tokenizer_from));
    TANDEM_TRY_STATUS(copy_tokenizer(writer, *source, report.spec.vocabulary_size));
  } else {
    TANDEM_TRY_STATUS(set_synthetic_tokenizer(writer, report.spec.vocabulary_size));
  }
  for (const TensorSpec& tensor : report.spec.tensors)
    writer.declare_tensor(tensor.name, tensor.type, dims_of(tensor));

  report.file_bytes = writer.file_bytes();
  TANDEM_TRY_STATUS(expect_room_for(output, report.file_bytes));
  SynthWeights weights(report.spec, options.shape.rope_factors, options.seed);
  std::int64_t done_bytes = 0;
  const auto fill = [&](std::size_t index, std::int64_t offset, std::span<std::byte> chunk) {
    weights.fill(index, offset, chunk);
    done_bytes += static_cast<std::int64_t>(chunk.size());
    if (options.progress) options.progress(done_bytes, report.file_bytes);
    return Status();
  };
  TANDEM_TRY_STATUS(writer.write(output, fill));
  return report;
}

}  // namespace tandem
