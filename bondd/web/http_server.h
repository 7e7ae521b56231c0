// HTTP over a listening socket, by libmicrohttpd, without a thread of its own.
//
// All is bounded: connections, in all and of one address, the bytes of a request's head, the time that a
// connection may rest, and the time that a request may take, however slowly its bytes come.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "bondd/base/units.h"
#include "bondd/web/pages.h"

namespace bondd::web {

// A browser opens 6 at once, and a proxy is one address.
inline constexpr unsigned kMostConnections = 64;
inline constexpr unsigned kMostOfOneAddress = 24;
inline constexpr std::size_t kConnectionMemory = 16 << 10;  // bytes, request's head and the answer's
inline constexpr unsigned kRestSeconds = 15;                // a page asks all the time
inline constexpr auto kRequestLimit = std::chrono::seconds(20);

class HttpServer {
 public:
  using Answer = std::function<Response(const Request&)>;

  // Takes the listening socket over. Fails when the library does.
  static Result<std::unique_ptr<HttpServer>> start(UniqueFd listener, Answer answer);
  virtual ~HttpServer() = default;

  // Readable when handle() has something to do.
  [[nodiscard]] virtual int fd() const = 0;
  // When it has, whatever comes; in milliseconds, at most `most`.
  [[nodiscard]] virtual int timeout_ms(int most) const = 0;
  // Accepts, reads, answers; closes what outstays its time.
  virtual void handle(TimePoint now) = 0;
};

}  // namespace bondd::web
