// Who may see the page: what a browser or a program shows before it is answered. Pure.
//
// A page of somebody else's, open in the same browser, can send requests here. It cannot choose the browser's
// Host header and Origin, nor read the answer; so a foreign name in Host (DNS rebinding) and a foreign Origin
// are refused, and the cookie comes with no request of another site's (SameSite=Strict).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "bondd/base/ip.h"
#include "bondd/base/secret.h"

namespace bondd::web {

// A request, as far as anybody looks at it. Headers that are not there are empty.
struct Request {
  std::string method, path;
  std::string host, origin, authorization;
  std::string cookie;                            // the value of the one named kCookie
  std::map<std::string, std::string> arguments;  // behind the '?', decoded
};

inline constexpr const char* kCookie = "bondd";

// By which names and addresses this machine is meant.
struct OwnNames {
  IpAddress address;      // where the page listens; unspecified: at all addresses
  std::string host_name;  // of this machine
};

// Whether a Host header, with or without a port, means this machine: "localhost", a loopback address, the
// address that is listened at (any address, when all are), or the machine's name.
bool is_own_host(std::string_view host, const OwnNames& names);

// Whether an Origin header is of a page that came from here.
bool is_own_origin(std::string_view origin, std::string_view host);

enum class Verdict : std::uint8_t {
  kMaySee,
  kMayEnter,     // shows the token itself: may have the cookie
  kForeignHost,  // 421
  kForeignOrigin,
  kNoToken,
  kWrongToken,
};

class Gate {
 public:
  // `token` empty: everybody who gets here may see the page.
  Gate(OwnNames names, Secret token);

  // The token is looked for in "Authorization: Bearer", then in the argument "token", then as the cookie; it
  // is compared in constant time.
  [[nodiscard]] Verdict judge(const Request& request) const;
  // What the cookie's value is for whoever entered: made of the token, which cannot be told from it. It stays
  // the same as long as the token does.
  [[nodiscard]] std::string_view cookie() const { return cookie_.view(); }

 private:
  [[nodiscard]] Verdict judge_token(const Request& request) const;

  OwnNames names_;
  Secret token_, cookie_;
};

}  // namespace bondd::web
