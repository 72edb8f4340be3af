#pragma once

#include <optional>
#include <string>

namespace tandem {

struct UserDataFile {
  std::string path;
  std::string text;
};

// The user's own version of a data file: the one `variable` of the environment names, else
// $XDG_CONFIG_HOME/tandem/<name> (~/.config by default). nullopt where there is none; at most
// 16 MiB are read.
std::optional<UserDataFile> read_user_data(const char* variable, const std::string& name);

// The path that read_user_data() would read; empty where neither a variable nor a home is set.
std::string user_data_path(const char* variable, const std::string& name);

}  // namespace tandem
