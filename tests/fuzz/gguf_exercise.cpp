#include "gguf_exercise.h"

#include <cstdint>
#include <string>

#include "base/check.h"
#include "gguf/gguf_file.h"

namespace tandem {
namespace {

void exercise_key(const GgufFile& file, const std::string& key, const GgufValue& value) {
  TANDEM_CHECK(file.find(key) == &value, key);
  // One reader of each pair, at most, may like the value; none may stop the program.
  (void)file.get_uint(key).ok();
  (void)file.get_float_or(key, 0.0).ok();
  (void)file.get_bool_or(key, false).ok();
  const auto text = file.get_string(key);
  const auto array = file.get_array(key);
  TANDEM_CHECK(!(text.ok() && array.ok()), key);
  if (!array.ok()) return;
  if (const auto* strings = std::get_if<std::vector<std::string_view>>(&(*array)->elements)) {
    std::size_t total = 0;
    for (const std::string_view each : *strings)
      for (const char c : each) total += static_cast<unsigned char>(c);
    TANDEM_CHECK(total < SIZE_MAX, key);
  }
}

void exercise_tensor(const GgufFile& file, const GgufTensor& tensor,
                     std::span<const std::byte> image) {
  TANDEM_CHECK(file.find_tensor(tensor.name) == &tensor, tensor.name);
  TANDEM_CHECK(tensor.num_elements() >= 1 && tensor.rows() >= 1, tensor.name);
  TANDEM_CHECK(
      bytes_of(tensor.type, tensor.num_elements()) == static_cast<std::int64_t>(tensor.data.size()),
      tensor.name);
  const auto offset = static_cast<std::size_t>(tensor.data.data() - image.data());
  TANDEM_CHECK(offset < image.size() && tensor.data.size() <= image.size() - offset, tensor.name);
  file.release_pages(tensor.data);
}

}  // namespace

bool exercise_gguf(std::span<const std::byte> image) {
  const auto parsed = GgufFile::parse(image, "fuzz.gguf");
  if (!parsed.ok()) {
    TANDEM_CHECK(!parsed.error().to_string().empty(), "an error without a message");
    return false;
  }
  const GgufFile& file = **parsed;
  for (const auto& [key, value] : file.metadata()) exercise_key(file, key, value);
  for (const GgufTensor& tensor : file.tensors()) exercise_tensor(file, tensor, image);
  return true;
}

}  // namespace tandem
