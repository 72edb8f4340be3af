#include "gguf/gguf_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <set>
#include <utility>

#include "base/checked.h"
#include "gguf/byte_reader.h"

namespace tandem {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read in place, little-endian");

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kDefaultAlignment = 32;
constexpr std::uint32_t kMaxDims = 4;
constexpr std::uint64_t kMaxKeyBytes = 65535;  // docs/gguf.md
// The least that a key-value pair (length, one byte of key, type, one byte of value) and a tensor
// (length, one byte of name, count of dimensions, type, offset) take in the file.
constexpr std::uint64_t kMinPairBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 4 + 8;

class ImageParser {
 public:
  explicit ImageParser(std::span<const std::byte> image) : image_(image), reader_(image) {}

  Result<GgufImage> parse();

 private:
  struct Header {
    std::uint32_t version;
    std::uint64_t num_tensors;
    std::uint64_t num_pairs;
  };
  // A tensor's description; its data is found once all descriptions are read.
  struct Described {
    GgufTensor tensor;
    std::uint64_t offset;  // from the start of the data section
    std::uint64_t size_bytes;
  };

  Result<Header> read_header();
  Status read_metadata(std::uint64_t num_pairs);
  Result<GgufType> read_type();
  Result<GgufValue> read_value(GgufType type);
  Result<GgufArray> read_array();
  template <typename Stored, typename Widened>
  Result<GgufArray> read_numbers(GgufType type, std::uint64_t count);
  Result<GgufArray> read_bools(std::uint64_t count);
  Result<GgufArray> read_strings(std::uint64_t count);
  Result<std::uint64_t> alignment() const;
  Status read_tensors(std::uint64_t num_tensors);
  Result<Described> describe_tensor(std::string_view name);
  Result<std::vector<std::int64_t>> read_dims();
  Status place_tensors(std::vector<Described>& described);

  std::span<const std::byte> image_;
  ByteReader reader_;
  std::uint64_t num_array_elements_ = 0;
  GgufImage result_;
};

Result<GgufImage> ImageParser::parse() {
  TANDEM_TRY(const Header header, read_header());
  result_.version = header.version;
  TANDEM_TRY_STATUS(read_metadata(header.num_pairs));
  TANDEM_TRY_STATUS(read_tensors(header.num_tensors));
  return std::move(result_);
}

Result<ImageParser::Header> ImageParser::read_header() {
  Header header;
  TANDEM_TRY(const auto magic, reader_.read<std::uint32_t>("the magic number"));
  if (magic != kMagic) {
    return malformed("byte 0", "not a GGUF file", "\"GGUF\"",
                     printable({reinterpret_cast<const char*>(image_.data()), 4}));
  }
  TANDEM_TRY(header.version, reader_.read<std::uint32_t>("the version"));
  if (header.version != 2 && header.version != 3) {
    const bool swapped = (header.version & 0xffff) == 0 && header.version != 0;
    return unsupported(
        "byte 4", swapped ? "big-endian GGUF" : "GGUF version", "2 or 3",
        swapped ? fmt::format("{:#x}", header.version) : std::to_string(header.version));
  }
  TANDEM_TRY(header.num_tensors, reader_.read<std::uint64_t>("the number of tensors"));
  TANDEM_TRY(header.num_pairs, reader_.read<std::uint64_t>("the number of keys"));
  // Both stand for loops and memory: refuse at once what the file cannot hold.
  const std::uint64_t room = reader_.remaining();
  if (header.num_pairs > room / kMinPairBytes) {
    return malformed("byte 16", "more keys than the file can hold",
                     fmt::format("at most {}", room / kMinPairBytes),
                     std::to_string(header.num_pairs));
  }
  if (header.num_tensors > room / kMinTensorBytes) {
    return malformed("byte 8", "more tensors than the file can hold",
                     fmt::format("at most {}", room / kMinTensorBytes),
                     std::to_string(header.num_tensors));
  }
  return header;
}

Status ImageParser::read_metadata(std::uint64_t num_pairs) {
  for (std::uint64_t i = 0; i < num_pairs; ++i) {
    const std::string where = reader_.where();
    TANDEM_TRY(const auto key, reader_.read_string("a key"));
    if (key.empty() || key.size() > kMaxKeyBytes) {
      return malformed(where, "length of a key", fmt::format("1 to {}", kMaxKeyBytes),
                       std::to_string(key.size()));
    }
    const auto type = read_type();
    if (!type.ok()) return type.error().at("key " + printable(key));
    auto value = read_value(*type);
    if (!value.ok()) return value.error().at("key " + printable(key));
    if (!result_.metadata.emplace(key, *std::move(value)).second)
      return malformed(where, "duplicate key " + printable(key));
  }
  return {};
}

Result<GgufType> ImageParser::read_type() {
  const std::string where = reader_.where();
  TANDEM_TRY(const auto id, reader_.read<std::uint32_t>("a value's type"));
  if (id > static_cast<std::uint32_t>(GgufType::kF64))
    return malformed(where, "type of a value", "0 to 12", std::to_string(id));
  return static_cast<GgufType>(id);
}

Result<GgufValue> ImageParser::read_value(GgufType type) {
  const auto widened = [&]<typename Stored, typename Widened>() -> Result<GgufValue> {
    TANDEM_TRY(const Stored value, reader_.read<Stored>("a value"));
    return GgufValue{type, static_cast<Widened>(value)};
  };
  switch (type) {
    case GgufType::kU8:
      return widened.operator()<std::uint8_t, std::uint64_t>();
    case GgufType::kI8:
      return widened.operator()<std::int8_t, std::int64_t>();
    case GgufType::kU16:
      return widened.operator()<std::uint16_t, std::uint64_t>();
    case GgufType::kI16:
      return widened.operator()<std::int16_t, std::int64_t>();
    case GgufType::kU32:
      return widened.operator()<std::uint32_t, std::uint64_t>();
    case GgufType::kI32:
      return widened.operator()<std::int32_t, std::int64_t>();
    case GgufType::kU64:
      return widened.operator()<std::uint64_t, std::uint64_t>();
    case GgufType::kI64:
      return widened.operator()<std::int64_t, std::int64_t>();
    case GgufType::kF32:
      return widened.operator()<float, double>();
    case GgufType::kF64:
      return widened.operator()<double, double>();
    case GgufType::kBool: {
      const std::string where = reader_.where();
      TANDEM_TRY(const auto value, reader_.read<std::uint8_t>("a bool"));
      if (value > 1) return malformed(where, "a bool", "0 or 1", std::to_string(value));
      return GgufValue{type, std::uint64_t{value}};
    }
    case GgufType::kString: {
      TANDEM_TRY(const auto value, reader_.read_string("a string"));
      return GgufValue{type, value};
    }
    case GgufType::kArray: {
      TANDEM_TRY(auto array, read_array());
      return GgufValue{type, std::move(array)};
    }
  }
  return malformed(reader_.where(), "type of a value");
}

Result<GgufArray> ImageParser::read_array() {
  const std::string type_where = reader_.where();
  TANDEM_TRY(const GgufType type, read_type());
  const std::string where = reader_.where();
  TANDEM_TRY(const auto count, reader_.read<std::uint64_t>("an array's length"));
  // Compared like this the sum cannot wrap; the budget also bounds `count` times any element size.
  if (count > kMaxArrayElements - num_array_elements_) {
    // Whether the file could hold so many decides which of two faults it is.
    if (count > reader_.remaining())
      return malformed(where, "array longer than the file",
                       fmt::format("at most {} bytes", reader_.remaining()),
                       fmt::format("{} elements", count));
    return unsupported(where, "elements in all arrays together",
                       fmt::format("at most {}", kMaxArrayElements), std::to_string(count));
  }
  num_array_elements_ += count;
  switch (type) {
    case GgufType::kU8:
      return read_numbers<std::uint8_t, std::uint64_t>(type, count);
    case GgufType::kI8:
      return read_numbers<std::int8_t, std::int64_t>(type, count);
    case GgufType::kU16:
      return read_numbers<std::uint16_t, std::uint64_t>(type, count);
    case GgufType::kI16:
      return read_numbers<std::int16_t, std::int64_t>(type, count);
    case GgufType::kU32:
      return read_numbers<std::uint32_t, std::uint64_t>(type, count);
    case GgufType::kI32:
      return read_numbers<std::int32_t, std::int64_t>(type, count);
    case GgufType::kU64:
      return read_numbers<std::uint64_t, std::uint64_t>(type, count);
    case GgufType::kI64:
      return read_numbers<std::int64_t, std::int64_t>(type, count);
    case GgufType::kF32:
      return read_numbers<float, double>(type, count);
    case GgufType::kF64:
      return read_numbers<double, double>(type, count);
    case GgufType::kBool:
      return read_bools(count);
    case GgufType::kString:
      return read_strings(count);
    case GgufType::kArray:
      break;
  }
  return unsupported(type_where, "array of arrays", "an array of numbers, bools or strings");
}

template <typename Stored, typename Widened>
Result<GgufArray> ImageParser::read_numbers(GgufType type, std::uint64_t count) {
  TANDEM_TRY(const auto bytes, reader_.take(count * sizeof(Stored), "an array"));
  std::vector<Widened> elements(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    elements[i] = static_cast<Widened>(value);
  }
  return GgufArray{type, std::move(elements)};
}

Result<GgufArray> ImageParser::read_bools(std::uint64_t count) {
  const std::string where = reader_.where();
  TANDEM_TRY(auto array, (read_numbers<std::uint8_t, std::uint64_t>(GgufType::kBool, count)));
  for (const std::uint64_t value : std::get<std::vector<std::uint64_t>>(array.elements))
    if (value > 1) return malformed(where, "a bool in an array", "0 or 1", std::to_string(value));
  return array;
}

Result<GgufArray> ImageParser::read_strings(std::uint64_t count) {
  // Each string has a length of 8 bytes in the file.
  if (count > reader_.remaining() / sizeof(std::uint64_t)) {
    return malformed(reader_.where(), "array declares more strings than the file can hold",
                     fmt::format("at most {}", reader_.remaining() / sizeof(std::uint64_t)),
                     std::to_string(count));
  }
  std::vector<std::string_view> elements;
  elements.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    TANDEM_TRY(const auto element, reader_.read_string("a string of an array"));
    elements.push_back(element);
  }
  return GgufArray{GgufType::kString, std::move(elements)};
}

Result<std::uint64_t> ImageParser::alignment() const {
  const auto found = result_.metadata.find("general.alignment");
  if (found == result_.metadata.end()) return kDefaultAlignment;
  const GgufValue& value = found->second;
  if (value.type != GgufType::kU32)
    return malformed("key 'general.alignment'", "wrong type", "u32",
                     std::string(name_of(value.type)));
  const std::uint64_t alignment = *value.as_uint();
  // docs/gguf.md asks for a multiple of 8, ggml for a power of two; tensors of floats are read in
  // place and need the first.
  if (alignment < 8 || !std::has_single_bit(alignment))
    return malformed("key 'general.alignment'", "alignment", "a power of two, 8 or more",
                     std::to_string(alignment));
  return alignment;
}

Status ImageParser::read_tensors(std::uint64_t num_tensors) {
  std::vector<Described> described;
  std::set<std::string_view> names;
  for (std::uint64_t i = 0; i < num_tensors; ++i) {
    const std::string where = reader_.where();
    TANDEM_TRY(const auto name, reader_.read_string("a tensor's name"));
    if (name.empty() || name.size() > kMaxKeyBytes) {
      return malformed(where, "length of a tensor's name", fmt::format("1 to {}", kMaxKeyBytes),
                       std::to_string(name.size()));
    }
    if (!names.insert(name).second) return malformed(where, "duplicate tensor " + printable(name));
    auto tensor = describe_tensor(name);
    if (!tensor.ok()) return tensor.error().at("tensor " + printable(name));
    described.push_back(*std::move(tensor));
  }
  return place_tensors(described);
}

Result<ImageParser::Described> ImageParser::describe_tensor(std::string_view name) {
  Described described;
  described.tensor.name = name;
  TANDEM_TRY(described.tensor.dims, read_dims());

  const std::string where = reader_.where();
  TANDEM_TRY(const auto type_id, reader_.read<std::uint32_t>("a tensor's type"));
  const auto type = element_type_from_id(type_id);
  if (!type) {
    return unsupported(where, "tensor type", "a type that Tandem reads",
                       name_of_ggml_type(type_id));
  }
  described.tensor.type = *type;
  const ElementTypeTraits& traits = traits_of(*type);
  const std::int64_t columns = described.tensor.dims[0];
  if (columns % traits.block_elements != 0) {
    return malformed(where, "a row is no whole number of blocks",
                     fmt::format("a multiple of {} for {}", traits.block_elements, traits.name),
                     std::to_string(columns));
  }
  const auto size_bytes = bytes_of(*type, described.tensor.num_elements());
  if (!size_bytes) {
    return malformed(where, "size in bytes", "less than 2^63",
                     fmt::format("{} numbers of {}", described.tensor.num_elements(), traits.name));
  }
  described.size_bytes = static_cast<std::uint64_t>(*size_bytes);
  TANDEM_TRY(described.offset, reader_.read<std::uint64_t>("a tensor's offset"));
  return described;
}

Result<std::vector<std::int64_t>> ImageParser::read_dims() {
  const std::string where = reader_.where();
  TANDEM_TRY(const auto num_dims, reader_.read<std::uint32_t>("a tensor's number of dimensions"));
  if (num_dims > kMaxDims)
    return malformed(where, "number of dimensions", "1 to 4", std::to_string(num_dims));
  if (num_dims == 0) return std::vector<std::int64_t>{1};  // a scalar, as ggml has it

  std::vector<std::int64_t> dims;
  std::int64_t product = 1;
  for (std::uint32_t i = 0; i < num_dims; ++i) {
    const std::string dim_where = reader_.where();
    TANDEM_TRY(const auto dim, reader_.read<std::uint64_t>("a tensor's dimensions"));
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (dim == 0 || dim > kMax)
      return malformed(dim_where, "a dimension", "1 to 2^63 - 1", std::to_string(dim));
    dims.push_back(static_cast<std::int64_t>(dim));
    const auto next = checked_mul(product, dims.back());
    if (!next)
      return malformed(dim_where, "product of the dimensions", "less than 2^63",
                       fmt::format("{} x {}", product, dim));
    product = *next;
  }
  return dims;
}

Status ImageParser::place_tensors(std::vector<Described>& described) {
  TANDEM_TRY(const std::uint64_t alignment, alignment());
  if (described.empty()) return {};  // a vocabulary alone; no padding need follow

  const auto start = checked_align_up(reader_.position(), alignment);
  const std::uint64_t room = start && *start <= image_.size() ? image_.size() - *start : 0;
  std::vector<const Described*> by_offset;
  for (Described& each : described) {
    const std::string where = "tensor " + printable(each.tensor.name);
    if (each.offset % alignment != 0)
      return malformed(where, "offset", fmt::format("a multiple of {}", alignment),
                       std::to_string(each.offset));
    if (each.offset > room || each.size_bytes > room - each.offset)
      return malformed(where, "data past the end of the file",
                       fmt::format("within {} bytes of data", room),
                       fmt::format("offset {}, {} bytes", each.offset, each.size_bytes));
    each.tensor.data = image_.subspan(*start + each.offset, each.size_bytes);
    by_offset.push_back(&each);
  }

  std::ranges::sort(by_offset, {}, &Described::offset);
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    const Described& before = *by_offset[i - 1];
    if (by_offset[i]->offset - before.offset < before.size_bytes)
      return malformed("tensor " + printable(by_offset[i]->tensor.name),
                       "overlaps tensor " + printable(before.tensor.name),
                       fmt::format("offset {} or more", before.offset + before.size_bytes),
                       std::to_string(by_offset[i]->offset));
  }
  for (Described& each : described) result_.tensors.push_back(std::move(each.tensor));
  return {};
}

}  // namespace

Result<GgufImage> parse_gguf_image(std::span<const std::byte> image) {
  return ImageParser(image).parse();
}

std::string printable(std::string_view name) {
  constexpr std::size_t kMaxShown = 80;
  std::string text = "'";
  for (const char c : name.substr(0, kMaxShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f)
      text += c;
    else
      text += fmt::format("\\x{:02x}", byte);
  }
  text += name.size() > kMaxShown ? "...'" : "'";
  return text;
}

}  // namespace tandem
