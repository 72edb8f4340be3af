#pragma once

#include <string>
#include <string_view>

namespace tandem {

// What kind of failure an Error is. Commands turn it into an exit code with exit_code_of().
enum class ErrorCode {
  kInvalidArgument,  // the caller's request makes no sense
  kNotFound,         // a file, device or name that does not exist
  kMalformed,        // bytes from outside that break their format
  kUnsupported,      // well formed, but not something Tandem does
  kDoesNotFit,       // no plan fits the devices; the message says what would help
  kIo,               // the operating system refused
  kOutOfMemory,      // an allocation on host or device failed
  kDeadline,         // a wait ran past its deadline
  kPeerLost,         // another rank failed; its group must be rebuilt
  kDeviceFailed,     // this device failed; its rank must be rebuilt
  kCancelled,        // the caller asked to stop
  kBusy,             // no room now; the same request may succeed later
  kInternal,         // a bug that could be contained
};

std::string_view name_of(ErrorCode code);

// 2: bad input, 4: no plan fits, 5: a device failed, 1: everything else (base/exit_code.h).
int exit_code_of(ErrorCode code);

// A failure as a value: what happened, where, and what was expected against what was found.
// `where`, `expected` and `got` may be empty.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string what;
  std::string where;
  std::string expected;
  std::string got;

  // One line: "where: what (expected ..., got ...)".
  std::string to_string() const;

  // The same error seen from further out: `outer` is put before `where`.
  Error at(std::string_view outer) const;
};

Error invalid_argument(std::string what, std::string expected = {}, std::string got = {});
Error not_found(std::string what, std::string where = {});
Error malformed(std::string where, std::string what, std::string expected = {},
                std::string got = {});
Error unsupported(std::string where, std::string what, std::string expected = {},
                  std::string got = {});

}  // namespace tandem
