#include "server/http/access_guard.h"

#include <algorithm>
#include <fstream>
#include <memory>

#include "base/lower_case.h"

namespace tandem {
namespace {

// "localhost" of "localhost:8080", "[::1]" of "[::1]:8080".
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// A name cannot look like these, so no foreign DNS server can have given it.
bool is_address(std::string_view host) {
  if (host.starts_with('[')) return true;
  return !host.empty() && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool is_localhost(std::string_view host) {
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]";
}

}  // namespace

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;
}

Result<std::unique_ptr<AccessGuard>> AccessGuard::create(AccessOptions options) {
  std::unique_ptr<AccessGuard> guard(new AccessGuard(std::move(options)));
  guard->keys_ = guard->options_.keys;
  TANDEM_TRY_STATUS(guard->reload());
  return guard;
}

Status AccessGuard::reload() {
  if (options_.key_file.empty()) return {};
  std::ifstream file(options_.key_file);
  if (!file) return Error{ErrorCode::kIo, "the key file cannot be read", options_.key_file, {}, {}};
  std::vector<std::string> keys = options_.keys;
  std::string line;
  while (std::getline(file, line)) {
    const auto end = line.find_last_not_of(" \t\r");
    if (end == std::string::npos || line[0] == '#') continue;
    keys.push_back(line.substr(0, end + 1));
  }
  // An empty file must not open the server to everyone.
  if (keys.empty()) return malformed(options_.key_file, "no API key", "one a line");
  const std::lock_guard lock(mutex_);
  keys_ = std::move(keys);
  return {};
}

std::optional<ApiError> AccessGuard::check(const HttpRequest& request, bool needs_key) const {
  const std::string* host = request.header("host");
  if (options_.check_host && (host == nullptr || !is_allowed_host(*host))) {
    return ApiError{403,
                    "this Host is not served here (see --allowed-host)",
                    "permission_error",
                    {},
                    "host_not_allowed",
                    0};
  }
  const std::string* origin = request.header("origin");
  const bool is_same = origin && host && lower_case(*origin).ends_with("://" + lower_case(*host));
  if (origin && !is_same && !is_allowed_origin(*origin)) {
    return ApiError{403,
                    "pages of this origin may not use the server (see --cors-origin)",
                    "permission_error",
                    {},
                    "origin_not_allowed",
                    0};
  }
  if (needs_key && !has_valid_key(request)) {
    return ApiError{401, "missing or wrong API key", "authentication_error",
                    {},  "invalid_api_key",          0};
  }
  return std::nullopt;
}

void AccessGuard::decorate(const HttpRequest& request, HttpResponse& response) const {
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  const std::string* origin = request.header("origin");
  if (origin == nullptr || !is_allowed_origin(*origin)) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", *origin);
  response.headers.emplace_back("Vary", "Origin");
  if (request.method != "OPTIONS") return;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                "Authorization, Content-Type, X-Api-Key, Anthropic-Version");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
}

bool AccessGuard::is_allowed_origin(std::string_view origin) const {
  const std::string given = lower_case(origin);
  for (const std::string& allowed : options_.origins) {
    if (allowed == "*" || lower_case(allowed) == given) return true;
  }
  const auto scheme = given.find("://");
  return scheme != std::string::npos &&
         is_localhost(without_port(std::string_view(given).substr(scheme + 3)));
}

bool AccessGuard::is_allowed_host(std::string_view host) const {
  const std::string name = lower_case(without_port(host));
  if (is_localhost(name) || is_address(name)) return true;
  return std::ranges::any_of(
      options_.hosts, [&](const std::string& allowed) { return lower_case(allowed) == name; });
}

bool AccessGuard::has_valid_key(const HttpRequest& request) const {
  const std::lock_guard lock(mutex_);
  if (keys_.empty()) return true;
  std::string_view given;
  if (const std::string* key = request.header("x-api-key")) given = *key;
  if (const std::string* bearer = request.header("authorization")) {
    if (lower_case(std::string_view(*bearer).substr(0, 7)) == "bearer ") {
      given = std::string_view(*bearer).substr(7);
    }
  }
  bool is_valid = false;
  for (const std::string& key : keys_) is_valid |= equal_in_constant_time(given, key);
  return is_valid;
}

}  // namespace tandem
