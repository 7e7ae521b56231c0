// The line that `bondd init` prints and `bondd join` reads: what both ends agree on and the other end's
// secret, as CBOR in base64url behind a version, with a checksum against damage on the way.
//
//   bondd1-<base64url(CBOR, 4 bytes of its BLAKE2b hash)>
//
// Whoever has the line can be that end: it is carried like a password.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bondd/base/error.h"
#include "bondd/setup/agreement.h"

namespace bondd::setup {

// Seconds since 1970 as a person reads them: "2026-11-30 07:45 UTC".
std::string utc(std::int64_t seconds);

constexpr std::string_view kTokenPrefix = "bondd1-";

struct Token {
  std::string id;                           // of this one token, 32 hexadecimal digits
  std::int64_t expires = 0;                 // seconds since 1970
  model::Role role = model::Role::kServer;  // of the end that joins
  std::string site;                         // proposed name of that end's site
  Agreement agreement;
  Credentials secret;  // of that end
  auto operator<=>(const Token&) const = default;
};

std::string encode(const Token& token);

// Blanks and line ends within `text`, which mail programs add, do not count. Every value is checked, as
// the line may come from anybody. The error says what to do.
Result<Token> decode(std::string_view text);

// An error if `now` (seconds since 1970) is past the token's end; says both times.
Result<> check_expiry(const Token& token, std::int64_t now);

}  // namespace bondd::setup
