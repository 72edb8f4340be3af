#include "gguf/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "gguf/output_file.h"

namespace tandem {
namespace {

constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kDefaultAlignment = 32;
constexpr std::int64_t kChunkBytes = 16 << 20;

template <typename T>
void append(std::vector<std::byte>& bytes, T value) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof value);
}

void append_string(std::vector<std::byte>& bytes, std::string_view value) {
  append<std::uint64_t>(bytes, value.size());
  const auto* begin = reinterpret_cast<const std::byte*>(value.data());
  bytes.insert(bytes.end(), begin, begin + value.size());
}

// Narrows a widened value back to the type that the file stores.
template <typename Widened>
void append_number(std::vector<std::byte>& bytes, GgufType type, Widened value) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kBool:
      return append(bytes, static_cast<std::uint8_t>(value));
    case GgufType::kI8:
      return append(bytes, static_cast<std::int8_t>(value));
    case GgufType::kU16:
      return append(bytes, static_cast<std::uint16_t>(value));
    case GgufType::kI16:
      return append(bytes, static_cast<std::int16_t>(value));
    case GgufType::kU32:
      return append(bytes, static_cast<std::uint32_t>(value));
    case GgufType::kI32:
      return append(bytes, static_cast<std::int32_t>(value));
    case GgufType::kU64:
      return append(bytes, static_cast<std::uint64_t>(value));
    case GgufType::kI64:
      return append(bytes, static_cast<std::int64_t>(value));
    case GgufType::kF32:
      return append(bytes, static_cast<float>(value));
    case GgufType::kF64:
      return append(bytes, static_cast<double>(value));
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  check_failed(__FILE__, __LINE__, "type is a number's", name_of(type));
}

template <typename T>
void append_element(std::vector<std::byte>& bytes, GgufType type, T value) {
  if constexpr (std::is_same_v<T, std::string_view>)
    append_string(bytes, value);
  else
    append_number(bytes, type, value);
}

}  // namespace

struct GgufWriter::Declared {
  std::string name;
  ElementType type;
  std::vector<std::int64_t> dims;
  std::int64_t offset_bytes;  // from the start of the data section
  std::int64_t size_bytes;
};

GgufWriter::GgufWriter(std::uint32_t alignment) : alignment_(alignment) {
  TANDEM_CHECK(alignment >= 8 && std::has_single_bit(alignment), std::to_string(alignment));
  if (alignment != kDefaultAlignment) set_u32("general.alignment", alignment);
}

GgufWriter::~GgufWriter() = default;

void GgufWriter::append_key(std::string_view key, GgufType type) {
  TANDEM_CHECK(!key.empty() && keys_.emplace(key).second, key);
  append_string(values_, key);
  append(values_, static_cast<std::uint32_t>(type));
}

void GgufWriter::set_u32(std::string_view key, std::uint32_t value) {
  append_key(key, GgufType::kU32);
  append(values_, value);
}

void GgufWriter::set_u64(std::string_view key, std::uint64_t value) {
  append_key(key, GgufType::kU64);
  append(values_, value);
}

void GgufWriter::set_i32(std::string_view key, std::int32_t value) {
  append_key(key, GgufType::kI32);
  append(values_, value);
}

void GgufWriter::set_f32(std::string_view key, float value) {
  append_key(key, GgufType::kF32);
  append(values_, value);
}

void GgufWriter::set_bool(std::string_view key, bool value) {
  append_key(key, GgufType::kBool);
  append<std::uint8_t>(values_, value ? 1 : 0);
}

void GgufWriter::set_string(std::string_view key, std::string_view value) {
  append_key(key, GgufType::kString);
  append_string(values_, value);
}

void GgufWriter::set_strings(std::string_view key, std::span<const std::string> values) {
  append_key(key, GgufType::kArray);
  append_array({GgufType::kString, std::vector<std::string_view>(values.begin(), values.end())});
}

void GgufWriter::set_f32s(std::string_view key, std::span<const float> values) {
  append_key(key, GgufType::kArray);
  append_array({GgufType::kF32, std::vector<double>(values.begin(), values.end())});
}

void GgufWriter::set_i32s(std::string_view key, std::span<const std::int32_t> values) {
  append_key(key, GgufType::kArray);
  append_array({GgufType::kI32, std::vector<std::int64_t>(values.begin(), values.end())});
}

void GgufWriter::set_value(std::string_view key, const GgufValue& value) {
  append_key(key, value.type);
  if (const GgufArray* array = value.as_array()) return append_array(*array);
  std::visit(
      [&](const auto& scalar) {
        if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(scalar)>, GgufArray>)
          append_element(values_, value.type, scalar);
      },
      value.data);
}

void GgufWriter::append_array(const GgufArray& array) {
  append(values_, static_cast<std::uint32_t>(array.element_type));
  append<std::uint64_t>(values_, array.size());
  std::visit(
      [&](const auto& elements) {
        for (const auto& element : elements) append_element(values_, array.element_type, element);
      },
      array.elements);
}

void GgufWriter::declare_tensor(std::string name, ElementType type,
                                std::vector<std::int64_t> dims) {
  TANDEM_CHECK(!name.empty() && tensor_names_.insert(name).second, name);
  TANDEM_CHECK(!dims.empty() && dims.size() <= 4, name);
  std::int64_t num_elements = 1;
  for (const std::int64_t dim : dims) {
    const auto product = checked_mul(num_elements, dim);
    TANDEM_CHECK(dim > 0 && product.has_value(), name);
    num_elements = *product;
  }
  const auto size_bytes = bytes_of(type, num_elements);
  TANDEM_CHECK(size_bytes && dims[0] % traits_of(type).block_elements == 0, name);
  const std::int64_t offset_bytes = align_up<std::int64_t>(data_bytes_, alignment_);
  data_bytes_ = offset_bytes + *size_bytes;
  tensors_.push_back({std::move(name), type, std::move(dims), offset_bytes, *size_bytes});
}

// All that stands before the data section, padded to where that starts.
std::vector<std::byte> GgufWriter::encode_header() const {
  std::vector<std::byte> bytes;
  for (const char c : {'G', 'G', 'U', 'F'}) append(bytes, c);
  append(bytes, kVersion);
  append<std::uint64_t>(bytes, tensors_.size());
  append<std::uint64_t>(bytes, keys_.size());
  bytes.insert(bytes.end(), values_.begin(), values_.end());
  for (const Declared& tensor : tensors_) {
    append_string(bytes, tensor.name);
    append(bytes, static_cast<std::uint32_t>(tensor.dims.size()));
    for (const std::int64_t dim : tensor.dims) append<std::uint64_t>(bytes, dim);
    append(bytes, static_cast<std::uint32_t>(tensor.type));
    append<std::uint64_t>(bytes, tensor.offset_bytes);
  }
  bytes.resize(align_up<std::size_t>(bytes.size(), alignment_));
  return bytes;
}

std::int64_t GgufWriter::file_bytes() const {
  return static_cast<std::int64_t>(encode_header().size()) + data_bytes_;
}

Status GgufWriter::write(const std::filesystem::path& path, const FillTensor& fill) const {
  TANDEM_TRY(OutputFile file, OutputFile::create(path));
  TANDEM_TRY_STATUS(file.append(encode_header()));

  std::vector<std::byte> buffer;
  std::int64_t written_bytes = 0;  // of the data section
  for (std::size_t index = 0; index < tensors_.size(); ++index) {
    const Declared& tensor = tensors_[index];
    buffer.assign(static_cast<std::size_t>(tensor.offset_bytes - written_bytes), std::byte{0});
    TANDEM_TRY_STATUS(file.append(buffer));

    const std::int64_t row_bytes = *bytes_of(tensor.type, tensor.dims[0]);
    const std::int64_t chunk_bytes = std::max(kChunkBytes / row_bytes, std::int64_t{1}) * row_bytes;
    for (std::int64_t offset = 0; offset < tensor.size_bytes; offset += chunk_bytes) {
      buffer.resize(static_cast<std::size_t>(std::min(chunk_bytes, tensor.size_bytes - offset)));
      TANDEM_TRY_STATUS(fill(index, offset, buffer));
      TANDEM_TRY_STATUS(file.append(buffer));
    }
    written_bytes = tensor.offset_bytes + tensor.size_bytes;
  }
  return file.commit();
}

}  // namespace tandem
