#include "app/arguments.h"

#include <algorithm>
#include <map>
#include <string_view>

namespace tandem {
namespace {

const std::map<std::string_view, std::string_view> kLongFlags = {
    {"-ngl", "--n-gpu-layers"},  {"-tb", "--threads-batch"},
    {"-ub", "--ubatch-size"},    {"-np", "--parallel"},
    {"-dev", "--devices"},       {"-mg", "--main-gpu"},
    {"-fa", "--flash-attn"},     {"-ctk", "--cache-type-k"},
    {"-ctv", "--cache-type-v"},  {"-sm", "--split"},
    {"-ts", "--tensor-split"},   {"-cb", "--cont-batching"},
    {"-sys", "--system-prompt"}, {"-no-cnv", "--no-conversation"},
    {"-md", "--model-draft"},    {"-devd", "--device-draft"},
};

}  // namespace

std::vector<std::string> with_long_flags(const std::vector<std::string>& arguments) {
  std::vector<std::string> result;
  bool flags_end = false;
  for (const std::string& argument : arguments) {
    flags_end = flags_end || argument == "--";
    const std::size_t equals = argument.find('=');
    const auto found = kLongFlags.find(std::string_view(argument).substr(0, equals));
    if (flags_end || found == kLongFlags.end()) {
      result.push_back(argument);
      continue;
    }
    std::string value = equals == std::string::npos ? "" : argument.substr(equals);
    result.push_back(std::string(found->second) + value);
  }
  return result;
}

std::string_view short_flag_of(std::string_view long_flag) {
  const auto found = std::ranges::find_if(
      kLongFlags, [&](const auto& flag) { return flag.second.substr(2) == long_flag; });
  return found == kLongFlags.end() ? std::string_view() : found->first;
}

}  // namespace tandem
