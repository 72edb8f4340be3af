#include "gguf/gguf_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "gguf/gguf_image.h"
#include "gguf/mapped_file.h"

namespace tandem {
namespace {

// Files of one model are named PREFIX-00001-of-00003.gguf (llama.cpp's llama_split_path).

std::string split_suffix(std::uint64_t part_index, std::uint64_t num_parts) {
  return fmt::format("-{:05}-of-{:05}.gguf", part_index + 1, num_parts);
}

Result<std::uint64_t> split_number(const GgufImage& image, std::string_view key) {
  const auto found = image.metadata.find(key);
  const std::string where = fmt::format("key '{}'", key);
  if (found == image.metadata.end()) return malformed(where, "missing in a file of several");
  const auto number = found->second.as_uint();
  if (!number) {
    return malformed(where, "wrong type", "a number, not negative",
                     std::string(name_of(found->second.type)));
  }
  return *number;
}

Status expect_number(const GgufImage& image, std::string_view key, std::uint64_t expected) {
  TANDEM_TRY(const std::uint64_t got, split_number(image, key));
  if (got != expected) {
    return malformed(fmt::format("key '{}'", key), "files of one model do not agree",
                     std::to_string(expected), std::to_string(got));
  }
  return {};
}

}  // namespace

std::int64_t GgufTensor::num_elements() const {
  std::int64_t product = 1;  // cannot wrap: verified when the file was read
  for (const std::int64_t dim : dims) product *= dim;
  return product;
}

GgufFile::GgufFile() = default;
GgufFile::~GgufFile() = default;

Result<std::shared_ptr<const GgufFile>> GgufFile::parse(std::span<const std::byte> image,
                                                        std::string name) {
  auto contents = parse_gguf_image(image);
  if (!contents.ok()) return contents.error().at(name);
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->name_ = std::move(name);
  file->version_ = contents->version;
  file->file_bytes_ = static_cast<std::int64_t>(image.size());
  file->metadata_ = std::move(contents->metadata);
  TANDEM_TRY_STATUS(file->add_tensors(std::move(contents->tensors), file->name_));
  return std::shared_ptr<const GgufFile>(std::move(file));
}

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::filesystem::path& path) {
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->name_ = path.string();
  GgufImage head;
  TANDEM_TRY_STATUS(file->add_part(path, &head));
  file->version_ = head.version;
  file->metadata_ = std::move(head.metadata);
  TANDEM_TRY_STATUS(file->add_tensors(std::move(head.tensors), file->name_));
  TANDEM_TRY_STATUS(file->add_other_parts(path));
  return std::shared_ptr<const GgufFile>(std::move(file));
}

Status GgufFile::add_part(const std::filesystem::path& path, GgufImage* head) {
  TANDEM_TRY(auto mapped, MappedFile::open(path));
  auto contents = parse_gguf_image(mapped->bytes());
  if (!contents.ok()) return contents.error().at(path.string());
  file_bytes_ += static_cast<std::int64_t>(mapped->bytes().size());
  *head = *std::move(contents);
  parts_.push_back(std::move(mapped));
  return {};
}

Status GgufFile::add_other_parts(const std::filesystem::path& first) {
  TANDEM_TRY(const std::uint64_t num_parts, get_uint_or("split.count", 0));
  if (num_parts <= 1) return {};
  TANDEM_TRY(const std::uint64_t part_index, get_uint("split.no"));
  const std::string path = first.string();
  const std::string suffix = split_suffix(0, num_parts);
  if (part_index != 0) {
    return Error{ErrorCode::kInvalidArgument, "one of several files, and not the first", name_,
                 "the file that ends in " + suffix, "split.no " + std::to_string(part_index)};
  }
  if (!path.ends_with(suffix))
    return malformed(name_, "name of the first of several files", "..." + suffix,
                     first.filename().string());

  const std::string prefix = path.substr(0, path.size() - suffix.size());
  for (std::uint64_t i = 1; i < num_parts; ++i) {
    const std::string part_path = prefix + split_suffix(i, num_parts);
    GgufImage part;
    TANDEM_TRY_STATUS(add_part(part_path, &part));
    for (const auto& [key, expected] :
         {std::pair("split.no", i), std::pair("split.count", num_parts)})
      if (auto status = expect_number(part, key, expected); !status.ok())
        return status.error().at(part_path);
    TANDEM_TRY_STATUS(add_tensors(std::move(part.tensors), part_path));
  }
  TANDEM_TRY(const std::uint64_t num_tensors, get_uint_or("split.tensors.count", tensors_.size()));
  if (num_tensors != tensors_.size())
    return malformed(name_ + ": key 'split.tensors.count'", "tensors in all files",
                     std::to_string(num_tensors), std::to_string(tensors_.size()));
  return {};
}

Status GgufFile::add_tensors(std::vector<GgufTensor> tensors, std::string_view part_name) {
  for (GgufTensor& tensor : tensors) {
    if (!tensor_index_.emplace(tensor.name, tensors_.size()).second)
      return malformed(std::string(part_name), "tensor " + printable(tensor.name) +
                                                   " stands in another file of this model too");
    tensors_.push_back(std::move(tensor));
  }
  return {};
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

Result<const GgufValue*> GgufFile::require(std::string_view key) const {
  if (const GgufValue* value = find(key)) return value;
  return malformed(name_, fmt::format("key '{}' is missing", key));
}

Error GgufFile::wrong_type(std::string_view key, const GgufValue& value,
                           std::string_view expected) const {
  std::string got(name_of(value.type));
  if (const auto number = value.as_float()) got += fmt::format(" {}", *number);
  if (const GgufArray* array = value.as_array())
    got += fmt::format(" of {}", name_of(array->element_type));
  return malformed(fmt::format("{}: key '{}'", name_, key), "wrong type", std::string(expected),
                   std::move(got));
}

Result<std::uint64_t> GgufFile::get_uint(std::string_view key) const {
  TANDEM_TRY(const GgufValue* value, require(key));
  if (const auto number = value->as_uint()) return *number;
  return wrong_type(key, *value, "an integer, not negative");
}

Result<double> GgufFile::get_float(std::string_view key) const {
  TANDEM_TRY(const GgufValue* value, require(key));
  if (const auto number = value->as_float()) return *number;
  return wrong_type(key, *value, "a number");
}

Result<std::string_view> GgufFile::get_string(std::string_view key) const {
  TANDEM_TRY(const GgufValue* value, require(key));
  if (const auto text = value->as_string()) return *text;
  return wrong_type(key, *value, "a string");
}

Result<const GgufArray*> GgufFile::get_array(std::string_view key) const {
  TANDEM_TRY(const GgufValue* value, require(key));
  if (const GgufArray* array = value->as_array()) return array;
  return wrong_type(key, *value, "an array");
}

Result<std::uint64_t> GgufFile::get_uint_or(std::string_view key, std::uint64_t fallback) const {
  if (find(key) == nullptr) return fallback;
  return get_uint(key);
}

Result<double> GgufFile::get_float_or(std::string_view key, double fallback) const {
  if (find(key) == nullptr) return fallback;
  return get_float(key);
}

Result<bool> GgufFile::get_bool_or(std::string_view key, bool fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const auto flag = value->as_bool()) return *flag;
  return wrong_type(key, *value, "a bool");
}

Result<std::string_view> GgufFile::get_string_or(std::string_view key,
                                                 std::string_view fallback) const {
  if (find(key) == nullptr) return fallback;
  return get_string(key);
}

Status GgufFile::copy_bytes(std::span<const std::byte> range, std::span<std::byte> to) const {
  for (const auto& part : parts_)
    if (part->contains(range)) return part->copy_bytes(range, to);
  std::copy(range.begin(), range.end(), to.begin());  // an image in memory
  return {};
}

void GgufFile::release_pages(std::span<const std::byte> range) const {
  for (const auto& part : parts_)
    if (part->contains(range)) part->release_pages(range);
}

}  // namespace tandem
