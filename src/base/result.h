#pragma once

#include <optional>
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/error.h"

namespace tandem {

// Either a value or an Error. Reading the side that is not there is a bug and stops the program.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit
  template <typename U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::remove_cvref_t<U>, Error> &&
           !std::is_same_v<std::remove_cvref_t<U>, T> &&
           !std::is_same_v<std::remove_cvref_t<U>, Result>) Result(U&& value)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    TANDEM_CHECK(ok(), error_text());
    return std::get<0>(state_);
  }
  const T& value() const& {
    TANDEM_CHECK(ok(), error_text());
    return std::get<0>(state_);
  }
  T&& value() && {
    TANDEM_CHECK(ok(), error_text());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    TANDEM_CHECK(!ok(), "error() of a Result that holds a value");
    return std::get<1>(state_);
  }
  Error&& error() && {
    TANDEM_CHECK(!ok(), "error() of a Result that holds a value");
    return std::get<1>(std::move(state_));
  }

 private:
  std::string error_text() const { return ok() ? std::string() : std::get<1>(state_).to_string(); }

  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  void value() const { TANDEM_CHECK(ok(), error_->to_string()); }
  const Error& error() const& {
    TANDEM_CHECK(!ok(), "error() of a Result that holds no error");
    return *error_;
  }
  Error&& error() && {
    TANDEM_CHECK(!ok(), "error() of a Result that holds no error");
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace tandem

#define TANDEM_CONCAT_(a, b) a##b
#define TANDEM_CONCAT(a, b) TANDEM_CONCAT_(a, b)

// TANDEM_TRY(auto file, open(path)): declares `file`, or returns the error to the caller.
#define TANDEM_TRY(declaration, expression) \
  TANDEM_TRY_(declaration, expression, TANDEM_CONCAT(tandem_result_, __LINE__))
#define TANDEM_TRY_(declaration, expression, name) \
  auto name = (expression);                        \
  if (!name.ok()) return std::move(name).error();  \
  declaration = std::move(name).value()

// TANDEM_TRY_STATUS(write(...)): returns the error to the caller, if there is one.
#define TANDEM_TRY_STATUS(expression)                           \
  do {                                                          \
    if (auto tandem_status = (expression); !tandem_status.ok()) \
      return std::move(tandem_status).error();                  \
  } while (false)
