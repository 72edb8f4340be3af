#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/http/api_error.h"
#include "server/http/http_message.h"

namespace tandem {

struct AccessOptions {
  std::vector<std::string> keys;     // --api-key; none and no file: no key is needed
  std::string key_file;              // --api-key-file: one a line; re-read by reload()
  std::vector<std::string> origins;  // that may use the server from a browser, beside localhost
  std::vector<std::string> hosts;    // names under which it is reached, beside addresses
  bool check_host = true;            // refuse other names: set where it listens on loopback
};

// Who may use the server: keys, the Host header (against DNS rebinding) and browsers' origins.
class AccessGuard {
 public:
  // Errors: kIo, kMalformed for a key file that cannot be read or holds no key.
  static Result<std::unique_ptr<AccessGuard>> create(AccessOptions options);

  // Reads the key file again. On an error the old keys stay.
  Status reload();

  // Why this request is refused. needs_key: false for what everybody may see.
  std::optional<ApiError> check(const HttpRequest& request, bool needs_key) const;
  // What every answer bears: for browsers, whether the page that asks may read it.
  void decorate(const HttpRequest& request, HttpResponse& response) const;
  // May a page from this origin use the server?
  bool is_allowed_origin(std::string_view origin) const;

 private:
  explicit AccessGuard(AccessOptions options) : options_(std::move(options)) {}
  bool is_allowed_host(std::string_view host) const;
  bool has_valid_key(const HttpRequest& request) const;

  AccessOptions options_;
  mutable std::mutex mutex_;
  std::vector<std::string> keys_;  // guarded by mutex_
};

// The same time for all texts of one length; says whether they are equal.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace tandem
