#include "machine/user_data.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace tandem {
namespace {

namespace fs = std::filesystem;

constexpr std::streamsize kMaxBytes = 16 << 20;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path default_path(const std::string& name) {
  if (const std::string config = environment("XDG_CONFIG_HOME"); !config.empty())
    return fs::path(config) / "tandem" / name;
  if (const std::string home = environment("HOME"); !home.empty())
    return fs::path(home) / ".config/tandem" / name;
  return {};
}

}  // namespace

std::string user_data_path(const char* variable, const std::string& name) {
  const std::string named = environment(variable);
  return named.empty() ? default_path(name).string() : named;
}

std::optional<UserDataFile> read_user_data(const char* variable, const std::string& name) {
  const fs::path path = user_data_path(variable, name);
  std::error_code error;
  if (path.empty() || !fs::is_regular_file(path, error)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  UserDataFile data{path.string(), std::string(static_cast<std::size_t>(kMaxBytes), '\0')};
  file.read(data.text.data(), kMaxBytes);
  data.text.resize(static_cast<std::size_t>(file.gcount()));
  return data;
}

}  // namespace tandem
