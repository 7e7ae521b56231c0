// Errors as values. What the world can break returns Result<T>; exceptions stay
// inside the adapter of a library that throws.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace bondd {

// What went wrong, in words for a person. `message` says what and, where it can,
// what to do; each layer that passes it on adds its context once, in front.
// `code` is the errno behind it, 0 when there is none.
struct Error {
  std::string message;
  int code = 0;

  // The same error seen from one layer higher: "CONTEXT: MESSAGE".
  [[nodiscard]] Error in(std::string_view context) const {
    return Error{std::string(context) + ": " + message, code};
  }
};

template <typename T = void>
using Result = tl::expected<T, Error>;

// Result of a failure. `code` defaults to "no errno".
inline tl::unexpected<Error> failure(std::string message, int code = 0) {
  return tl::make_unexpected(Error{std::move(message), code});
}

// Failure of a system call: "WHAT: strerror(code)". `code` defaults to errno.
inline tl::unexpected<Error> errno_failure(std::string_view what, int code = errno) {
  return failure(std::string(what) + ": " + std::generic_category().message(code), code);
}

}  // namespace bondd
