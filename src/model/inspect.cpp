#include "model/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <variant>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "gguf/gguf_file.h"
#include "model/file_type.h"
#include "model/model_spec.h"

namespace tandem {
namespace {

using nlohmann::json;

constexpr std::size_t kFirstElements = 8;
constexpr std::size_t kMaxShownBytes = 100;  // of a value, in the text for people

// A string that is sure to be UTF-8.
json text_value(std::string_view text) {
  const std::string escaped = json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  return json::parse(escaped);
}

template <typename T>
json scalar_value(const T& value) {
  if constexpr (std::is_same_v<T, std::string_view>)
    return text_value(value);
  else
    return value;
}

json array_value(const GgufArray& array) {
  json first = json::array();
  std::visit(
      [&](const auto& elements) {
        for (std::size_t i = 0; i < std::min(elements.size(), kFirstElements); ++i)
          first.push_back(scalar_value(elements[i]));
      },
      array.elements);
  return {{"type", name_of(array.element_type)}, {"count", array.size()}, {"first", first}};
}

json value_to_json(const GgufValue& value) {
  if (const GgufArray* array = value.as_array()) return array_value(*array);
  if (const auto flag = value.as_bool()) return *flag;
  if (const auto text = value.as_string()) return text_value(*text);
  if (const auto number = value.as_uint()) return *number;
  if (const auto number = value.as_int()) return *number;
  return *value.as_float();
}

json model_to_json(const ModelSpec& spec) {
  json model = {{"architecture", name_of(spec.architecture)},
                {"num_layers", spec.num_layers},
                {"hidden_size", spec.hidden_size},
                {"num_q_heads", spec.attention.num_q_heads},
                {"num_kv_heads", spec.attention.num_kv_heads},
                {"head_dim", spec.attention.head_dim},
                {"feed_forward_width", spec.feed_forward.width},
                {"vocabulary_size", spec.vocabulary_size},
                {"context_tokens", spec.context_tokens},
                {"tied_embeddings", spec.tied_embeddings},
                {"rope_base", spec.attention.rope.base},
                {"norm_epsilon", spec.norm_epsilon},
                {"sliding_window", spec.attention.window}};
  model["num_experts"] = spec.feed_forward.num_experts;
  model["num_experts_used"] = spec.feed_forward.num_experts_used;
  return model;
}

// Columns last, as matrices are written: [rows, columns].
json shape_of(const GgufTensor& tensor) {
  return std::vector<std::int64_t>(tensor.dims.rbegin(), tensor.dims.rend());
}

std::string joined(const json& list) {
  std::string text;
  for (const json& each : list) text += (text.empty() ? "" : ", ") + each.dump();
  return text;
}

std::string shortened(std::string text) {
  if (text.size() <= kMaxShownBytes) return text;
  // Not within a character: bytes 10xxxxxx continue one.
  std::size_t end = kMaxShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// For the terminal: control characters from the file stay escaped, as JSON has them.
std::string plain(const json& text) {
  const std::string quoted = text.dump();
  return quoted.substr(1, quoted.size() - 2);
}

std::string line(std::string_view label, std::string_view value) {
  return fmt::format("  {:<14} {}\n", label, value);
}

std::string model_lines(const json& model) {
  std::string text = line("layers", model["num_layers"].dump());
  text += line("hidden size", model["hidden_size"].dump());
  text += line("heads", fmt::format("{} query, {} key/value, {} wide", model["num_q_heads"].dump(),
                                    model["num_kv_heads"].dump(), model["head_dim"].dump()));
  text += line("feed-forward", model["feed_forward_width"].dump());
  if (model["num_experts"] != 0)
    text += line("experts", fmt::format("{}, {} used per token", model["num_experts"].dump(),
                                        model["num_experts_used"].dump()));
  text += line("vocabulary", model["vocabulary_size"].dump() +
                                 (model["tied_embeddings"] ? " (output tied)" : ""));
  text += line("context", model["context_tokens"].dump());
  if (model["sliding_window"] != 0) text += line("sliding window", model["sliding_window"].dump());
  return text;
}

std::string metadata_lines(const json& metadata) {
  std::string text = "metadata\n";
  for (const auto& [key, value] : metadata.items()) {
    const std::string shown =
        value.is_object() ? fmt::format("{} x {}: {}{}", value["count"].dump(),
                                        value["type"].get<std::string>(), joined(value["first"]),
                                        value["count"] > value["first"].size() ? ", ..." : "")
                          : value.dump();
    text += fmt::format("  {} = {}\n", plain(key), shortened(shown));
  }
  return text;
}

}  // namespace

nlohmann::json inspect_to_json(const GgufFile& file) {
  std::int64_t parameters = 0;
  std::int64_t weight_bytes = 0;
  json types = json::object();
  json tensors = json::array();
  for (const GgufTensor& tensor : file.tensors()) {
    const auto bytes = static_cast<std::int64_t>(tensor.data.size());
    const std::string type(traits_of(tensor.type).name);
    parameters += tensor.num_elements();
    weight_bytes += bytes;
    if (!types.contains(type)) types[type] = {{"tensors", 0}, {"bytes", 0}};
    types[type]["tensors"] = types[type]["tensors"].get<std::int64_t>() + 1;
    types[type]["bytes"] = types[type]["bytes"].get<std::int64_t>() + bytes;
    tensors.push_back({{"name", text_value(tensor.name)},
                       {"type", type},
                       {"shape", shape_of(tensor)},
                       {"bytes", bytes}});
  }
  json metadata = json::object();
  for (const auto& [key, value] : file.metadata())
    metadata[text_value(key).get<std::string>()] = value_to_json(value);

  const auto text_or_null = [&](std::string_view key) {
    const auto text = file.get_string(key);
    return text.ok() ? text_value(*text) : json(nullptr);
  };
  const auto file_type = file.get_uint("general.file_type");
  const auto spec = model_spec_from_gguf(file);
  return {{"file", text_value(file.name())},
          {"version", file.version()},
          {"file_bytes", file.file_bytes()},
          {"architecture", text_or_null("general.architecture")},
          {"name", text_or_null("general.name")},
          {"file_type", file_type.ok() && *file_type <= UINT32_MAX
                            ? json(name_of_file_type(static_cast<std::uint32_t>(*file_type)))
                            : json(nullptr)},
          {"parameters", parameters},
          {"weight_bytes", weight_bytes},
          {"bits_per_weight", parameters == 0 ? 0.0
                                              : 8.0 * static_cast<double>(weight_bytes) /
                                                    static_cast<double>(parameters)},
          {"model", spec.ok() ? model_to_json(*spec) : json(nullptr)},
          {"problem", spec.ok() ? json(nullptr) : text_value(spec.error().to_string())},
          {"tensor_types", types},
          {"metadata", metadata},
          {"tensors", tensors}};
}

std::string inspect_to_text(const GgufFile& file, bool with_tensors) {
  const json all = inspect_to_json(file);
  const auto word = [&](const char* key) {
    return all[key].is_string() ? plain(all[key]) : std::string("unknown");
  };
  std::string text = word("file") + "\n";
  text += line("name", word("name"));
  text += line("architecture", word("architecture"));
  text +=
      line("file", fmt::format("{}, GGUF v{}, {} tensors, {}",
                               format_bytes(all["file_bytes"].get<std::int64_t>()),
                               all["version"].dump(), all["tensors"].size(), word("file_type")));
  text += line("weights", fmt::format("{:.3f} billion, {:.2f} bits each",
                                      all["parameters"].get<double>() / 1e9,
                                      all["bits_per_weight"].get<double>()));
  if (all["model"].is_object()) text += model_lines(all["model"]);
  for (const auto& [type, sum] : all["tensor_types"].items())
    text += line(type, fmt::format("{} tensors, {}", sum["tensors"].dump(),
                                   format_bytes(sum["bytes"].get<std::int64_t>())));
  if (all["problem"].is_string()) text += line("cannot be run", word("problem"));
  text += metadata_lines(all["metadata"]);
  if (!with_tensors) return text;
  text += "tensors\n";
  for (const json& tensor : all["tensors"])
    text += fmt::format("  {:<40} {:<7} [{}]\n", plain(tensor["name"]),
                        tensor["type"].get<std::string>(), joined(tensor["shape"]));
  return text;
}

}  // namespace tandem
