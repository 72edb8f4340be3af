#include "model_exercise.h"

#include "base/check.h"
#include "gguf/gguf_file.h"
#include "model/inspect.h"
#include "model/model_spec.h"
#include "text/tokenizer.h"

namespace tandem {
namespace {

void exercise_tokenizer(const Tokenizer& tokenizer) {
  const auto ids =
      tokenizer.encode("Two dogs, 3 caf\xc3\xa9s \xff<|end|>\n", {.parse_special = true});
  for (const std::int32_t id : ids)
    TANDEM_CHECK(id >= 0 && id < static_cast<std::int32_t>(tokenizer.vocabulary().size()),
                 std::to_string(id));
  (void)tokenizer.decode(ids, {.render_special = true});
}

void exercise_spec(const ModelSpec& spec, const GgufFile& file) {
  TANDEM_CHECK(spec.num_layers > 0 && spec.vocabulary_size > 0, spec.name);
  std::int64_t total_bytes = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    const GgufTensor* stored = file.find_tensor(tensor.name);
    TANDEM_CHECK(stored != nullptr, tensor.name);
    TANDEM_CHECK(tensor.size_bytes() == static_cast<std::int64_t>(stored->data.size()),
                 tensor.name);
    total_bytes += tensor.size_bytes();
  }
  TANDEM_CHECK(total_bytes == spec.weight_bytes(), spec.name);
}

}  // namespace

bool exercise_model(std::span<const std::byte> image) {
  const auto file = GgufFile::parse(image, "fuzz.gguf");
  if (!file.ok()) return false;
  TANDEM_CHECK(!inspect_to_text(**file, true).empty(), "nothing to say about a file");
  const auto spec = model_spec_from_gguf(**file);
  if (spec.ok()) exercise_spec(*spec, **file);
  const auto tokenizer = Tokenizer::create(**file);
  if (tokenizer.ok()) exercise_tokenizer(**tokenizer);
  return spec.ok() && tokenizer.ok();
}

}  // namespace tandem
