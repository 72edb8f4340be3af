#include "base/error.h"

#include <utility>

#include "base/exit_code.h"

namespace tandem {

std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid argument";
    case ErrorCode::kNotFound:
      return "not found";
    case ErrorCode::kMalformed:
      return "malformed";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kDoesNotFit:
      return "does not fit";
    case ErrorCode::kIo:
      return "input/output";
    case ErrorCode::kOutOfMemory:
      return "out of memory";
    case ErrorCode::kDeadline:
      return "deadline passed";
    case ErrorCode::kPeerLost:
      return "peer lost";
    case ErrorCode::kDeviceFailed:
      return "device failed";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kBusy:
      return "busy";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "unknown";
}

int exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kMalformed:
    case ErrorCode::kUnsupported:
      return kExitBadInput;
    case ErrorCode::kDoesNotFit:
      return kExitDoesNotFit;
    case ErrorCode::kDeviceFailed:
      return kExitDeviceFailed;
    default:
      return kExitFailed;
  }
}

std::string Error::to_string() const {
  std::string text = where.empty() ? what : where + ": " + what;
  if (!expected.empty() && !got.empty())
    return text + " (expected " + expected + ", got " + got + ")";
  if (!expected.empty()) return text + " (expected " + expected + ")";
  if (!got.empty()) return text + " (got " + got + ")";
  return text;
}

Error Error::at(std::string_view outer) const {
  Error copy = *this;
  copy.where = where.empty() ? std::string(outer) : std::string(outer) + ": " + where;
  return copy;
}

Error invalid_argument(std::string what, std::string expected, std::string got) {
  return {ErrorCode::kInvalidArgument, std::move(what), {}, std::move(expected), std::move(got)};
}

Error not_found(std::string what, std::string where) {
  return {ErrorCode::kNotFound, std::move(what), std::move(where), {}, {}};
}

Error malformed(std::string where, std::string what, std::string expected, std::string got) {
  return {ErrorCode::kMalformed, std::move(what), std::move(where), std::move(expected),
          std::move(got)};
}

Error unsupported(std::string where, std::string what, std::string expected, std::string got) {
  return {ErrorCode::kUnsupported, std::move(what), std::move(where), std::move(expected),
          std::move(got)};
}

}  // namespace tandem
