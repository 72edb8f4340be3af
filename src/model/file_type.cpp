#include "model/file_type.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/check.h"

namespace tandem {
namespace {

struct Entry {
  FileType type;
  std::string_view name;
  std::uint32_t id;
  ElementType main_type;  // of the tensors for which no rule says otherwise
};

constexpr std::array kEntries = {
    Entry{FileType::kF32, "F32", 0, ElementType::kF32},
    Entry{FileType::kF16, "F16", 1, ElementType::kF16},
    Entry{FileType::kBF16, "BF16", 32, ElementType::kBF16},
    Entry{FileType::kQ8_0, "Q8_0", 7, ElementType::kQ8_0},
    Entry{FileType::kQ4_0, "Q4_0", 2, ElementType::kQ4_0},
    Entry{FileType::kQ4_1, "Q4_1", 3, ElementType::kQ4_1},
    Entry{FileType::kQ5_0, "Q5_0", 8, ElementType::kQ5_0},
    Entry{FileType::kQ5_1, "Q5_1", 9, ElementType::kQ5_1},
    Entry{FileType::kQ2_K, "Q2_K", 10, ElementType::kQ2_K},
    Entry{FileType::kQ2_K_S, "Q2_K_S", 21, ElementType::kQ2_K},
    Entry{FileType::kQ3_K_S, "Q3_K_S", 11, ElementType::kQ3_K},
    Entry{FileType::kQ3_K_M, "Q3_K_M", 12, ElementType::kQ3_K},
    Entry{FileType::kQ3_K_L, "Q3_K_L", 13, ElementType::kQ3_K},
    Entry{FileType::kQ4_K_S, "Q4_K_S", 14, ElementType::kQ4_K},
    Entry{FileType::kQ4_K_M, "Q4_K_M", 15, ElementType::kQ4_K},
    Entry{FileType::kQ5_K_S, "Q5_K_S", 16, ElementType::kQ5_K},
    Entry{FileType::kQ5_K_M, "Q5_K_M", 17, ElementType::kQ5_K},
    Entry{FileType::kQ6_K, "Q6_K", 18, ElementType::kQ6_K},
    Entry{FileType::kIQ4_NL, "IQ4_NL", 25, ElementType::kIQ4_NL},
    Entry{FileType::kIQ4_XS, "IQ4_XS", 30, ElementType::kIQ4_XS},
    Entry{FileType::kMXFP4_MoE, "MXFP4_MOE", 38, ElementType::kMXFP4},
    Entry{FileType::kMXFP4, "MXFP4", 38, ElementType::kMXFP4},
};

const Entry& entry_of(FileType type) {
  const auto found = std::ranges::find(kEntries, type, &Entry::type);
  TANDEM_CHECK(found != kEntries.end(), "a FileType without an entry");
  return *found;
}

// The types of one model's tensors under one mix. The conditions are llama-quant.cpp's.
class Mix {
 public:
  Mix(const ModelSpec& spec, FileType type)
      : spec_(spec), file_(type), main_(entry_of(type).main_type) {}

  ElementType type_of(const TensorSpec& tensor) const {
    using enum TensorRole;
    switch (tensor.role) {
      case kOutput:
        return output_type(tensor);
      case kTokenEmbedding:
        if (spec_.tied_embeddings) return output_type(tensor);
        return is_mxfp4() ? ElementType::kQ8_0 : main_;
      case kValue:
      case kQueryKeyValue:
        return mxfp4_dense_or(value_type(tensor.layer));
      case kKey:
        return mxfp4_dense_or(has_8_experts() ? ElementType::kQ8_0 : main_);
      case kAttentionOutput:
        return mxfp4_dense_or(attention_output_type());
      case kDown:
        return mxfp4_dense_or(down_type(tensor.layer));
      case kExpertDown:
        return is_mxfp4() ? main_ : down_type(tensor.layer);
      case kExpertGate:
      case kExpertUp:
        return main_;
      default:
        return mxfp4_dense_or(main_);
    }
  }

 private:
  bool is(std::initializer_list<FileType> types) const {
    return std::ranges::find(types, file_) != types.end();
  }
  bool is_mxfp4() const { return is({FileType::kMXFP4, FileType::kMXFP4_MoE}); }
  ElementType mxfp4_dense_or(ElementType otherwise) const {
    if (file_ == FileType::kMXFP4_MoE) return ElementType::kQ8_0;
    return file_ == FileType::kMXFP4 ? ElementType::kMXFP4 : otherwise;
  }
  bool has_8_experts() const { return spec_.feed_forward.num_experts == 8; }
  bool shares_kv_heads() const { return spec_.attention.q_heads_per_kv_head() >= 4; }
  // Llama 2 and 3 70B, Qwen 72B: attn_v is an eighth of attn_q, so more bits cost little.
  bool is_70b() const {
    const bool has_size =
        spec_.architecture == Architecture::kLlama || spec_.architecture == Architecture::kQwen2;
    return has_size && spec_.num_layers == 80 &&
           spec_.attention.num_q_heads != spec_.attention.num_kv_heads;
  }
  bool use_more_bits(std::int32_t layer) const {
    const std::int32_t eighth = spec_.num_layers / 8;
    return layer < eighth || layer >= 7 * spec_.num_layers / 8 || (layer - eighth) % 3 == 2;
  }

  ElementType output_type(const TensorSpec& tensor) const {
    if (is_mxfp4() || tensor.columns % traits_of(main_).block_elements != 0)
      return ElementType::kQ8_0;
    return main_ == ElementType::kQ8_0 ? main_ : ElementType::kQ6_K;
  }

  ElementType value_type(std::int32_t layer) const {
    if (has_8_experts()) return ElementType::kQ8_0;
    const ElementType type = value_type_by_file(layer);
    const bool small = type == ElementType::kQ3_K || type == ElementType::kQ4_K;
    return is_70b() && small ? ElementType::kQ5_K : type;
  }
  ElementType value_type_by_file(std::int32_t layer) const {
    switch (file_) {
      case FileType::kQ2_K:
        return shares_kv_heads() ? ElementType::kQ4_K : ElementType::kQ3_K;
      case FileType::kQ2_K_S:
        return shares_kv_heads() ? ElementType::kQ4_K : main_;
      case FileType::kQ3_K_M:
        return layer < 2 ? ElementType::kQ5_K : ElementType::kQ4_K;
      case FileType::kQ3_K_L:
        return ElementType::kQ5_K;
      case FileType::kIQ4_NL:
      case FileType::kIQ4_XS:
        return shares_kv_heads() ? ElementType::kQ5_K : main_;
      case FileType::kQ4_K_M:
      case FileType::kQ5_K_M:
        return use_more_bits(layer) ? ElementType::kQ6_K : main_;
      case FileType::kQ4_K_S:
        return layer < 4 ? ElementType::kQ5_K : main_;
      default:
        return main_;
    }
  }

  ElementType down_type(std::int32_t layer) const {
    const bool first_eighth = layer < spec_.num_layers / 8;
    switch (file_) {
      case FileType::kQ2_K:
        return ElementType::kQ3_K;
      case FileType::kQ2_K_S:
        return first_eighth ? ElementType::kQ4_K : main_;
      case FileType::kQ3_K_M:
        return layer < spec_.num_layers / 16 ? ElementType::kQ5_K : ElementType::kQ4_K;
      case FileType::kQ3_K_L:
        return ElementType::kQ5_K;
      case FileType::kQ4_K_M:
      case FileType::kQ5_K_M:
        return use_more_bits(layer) ? ElementType::kQ6_K : main_;
      case FileType::kIQ4_NL:
      case FileType::kIQ4_XS:
      case FileType::kQ4_K_S:
        return first_eighth ? ElementType::kQ5_K : main_;
      default:
        return main_;
    }
  }

  ElementType attention_output_type() const {
    if (has_8_experts()) {
      const bool raised =
          is({FileType::kQ2_K, FileType::kQ3_K_S, FileType::kQ3_K_M, FileType::kIQ4_NL,
              FileType::kQ4_K_S, FileType::kQ4_K_M, FileType::kIQ4_XS});
      return raised ? ElementType::kQ5_K : main_;
    }
    switch (file_) {
      case FileType::kQ2_K:
        return ElementType::kQ3_K;
      case FileType::kQ3_K_M:
        return ElementType::kQ4_K;
      case FileType::kQ3_K_L:
        return ElementType::kQ5_K;
      default:
        return main_;
    }
  }

  const ModelSpec& spec_;
  FileType file_;
  ElementType main_;
};

// For rows that are no whole number of blocks.
ElementType fallback_of(ElementType type, std::int64_t columns) {
  const auto fits = [columns](ElementType each) {
    return columns % traits_of(each).block_elements == 0;
  };
  if (fits(type)) return type;
  ElementType smaller = ElementType::kF16;
  switch (type) {
    case ElementType::kIQ4_XS:
      smaller = ElementType::kIQ4_NL;
      break;
    case ElementType::kQ2_K:
    case ElementType::kQ3_K:
      smaller = ElementType::kQ4_0;
      break;
    case ElementType::kQ4_K:
      smaller = ElementType::kQ5_0;
      break;
    case ElementType::kQ5_K:
      smaller = ElementType::kQ5_1;
      break;
    case ElementType::kQ6_K:
      smaller = ElementType::kQ8_0;
      break;
    default:
      break;
  }
  return fits(smaller) ? smaller : ElementType::kF16;
}

// Norms, biases, routers and RoPE factors stay F32 in every file.
bool is_quantisable(const TensorSpec& tensor) {
  using enum TensorRole;
  switch (tensor.role) {
    case kTokenEmbedding:
    case kOutput:
    case kQuery:
    case kKey:
    case kValue:
    case kQueryKeyValue:
    case kAttentionOutput:
    case kGate:
    case kUp:
    case kGateUp:
    case kDown:
    case kExpertGate:
    case kExpertUp:
    case kExpertDown:
      return true;
    case kQueryNorm:
    case kKeyNorm:
      return tensor.rows > 1;  // no norms, but matrices that make latents (plan/planned_models.cpp)
    default:
      return false;
  }
}

}  // namespace

std::string_view name_of(FileType type) {
  return entry_of(type).name;
}

std::optional<FileType> file_type_from_name(std::string_view name) {
  std::string upper;
  for (const char c : name) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (upper == "Q3_K" || upper == "Q4_K" || upper == "Q5_K") upper += "_M";
  const auto found = std::ranges::find(kEntries, std::string_view(upper), &Entry::name);
  if (found == kEntries.end()) return std::nullopt;
  return found->type;
}

std::string supported_file_types() {
  std::string names;
  for (const Entry& entry : kEntries) {
    if (!names.empty()) names += ", ";
    names += entry.name;
  }
  return names;
}

std::uint32_t id_of(FileType type) {
  return entry_of(type).id;
}

std::string name_of_file_type(std::uint32_t id) {
  const auto found = std::ranges::find(kEntries, id, &Entry::id);
  return found == kEntries.end() ? "file type " + std::to_string(id) : std::string(found->name);
}

void assign_tensors(ModelSpec& spec, FileType type, bool pure) {
  spec.tensors = usual_tensors(spec, entry_of(type).main_type);
  assign_types(spec, type, pure);
}

void assign_types(ModelSpec& spec, FileType type, bool pure) {
  const ElementType main_type = entry_of(type).main_type;
  const Mix mix(spec, type);
  for (TensorSpec& tensor : spec.tensors) {
    if (!is_quantisable(tensor)) continue;
    const bool mixed = traits_of(main_type).is_quantised && !pure;
    tensor.type = fallback_of(mixed ? mix.type_of(tensor) : main_type, tensor.columns);
  }
  spec.file_type = entry_of(type).name;
}

}  // namespace tandem
