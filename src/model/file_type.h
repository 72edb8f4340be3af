#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/model_spec.h"
#include "tensor/element_type.h"

namespace tandem {

// What the quantisation of a whole file is called; its tensors may be of several types.
enum class FileType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ2_K_S,
  kQ3_K_S,
  kQ3_K_M,
  kQ3_K_L,
  kQ4_K_S,
  kQ4_K_M,
  kQ5_K_S,
  kQ5_K_M,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kMXFP4_MoE,  // as llama-quantize has it: experts MXFP4, all else Q8_0
  kMXFP4,      // ours, for dense models: matrices MXFP4, embeddings and output Q8_0
};

std::string_view name_of(FileType type);  // "Q4_K_M"
// Case ignored; "q4_k" means Q4_K_M, as for llama-quantize (q3_k and q5_k likewise).
std::optional<FileType> file_type_from_name(std::string_view name);
// "F32, F16, ...": for messages.
std::string supported_file_types();

// The number in `general.file_type` (llama.h, enum llama_ftype).
std::uint32_t id_of(FileType type);
// The name of any id that we can make: "Q4_K_M", or "file type 99".
std::string name_of_file_type(std::uint32_t id);

// Fills spec.tensors (usual_tensors) with the types that llama-quantize without an importance
// matrix would choose, and spec.file_type. pure: all matrices of the file type's main type
// (llama-quantize --pure). A matrix whose rows are no whole number of blocks falls back to a type
// of smaller blocks, at last to F16.
// Source: llama.cpp 007dbbf3, llama-quant.cpp: llama_tensor_get_type_impl, tensor_type_fallback.
void assign_tensors(ModelSpec& spec, FileType type, bool pure = false);

// The same for the tensors that spec has already, whose roles, shapes and layers decide.
void assign_types(ModelSpec& spec, FileType type, bool pure = false);

}  // namespace tandem
