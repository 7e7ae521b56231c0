// The two keys that a password becomes, once at the start; then it is wiped.
#pragma once

#include <string>
#include <string_view>

#include "bondd/base/error.h"
#include "bondd/mlvpn/session/wiped.h"

namespace bondd::mlvpn {

// The key of the wire that the original program knows too (BLAKE2b-256, no salt), and behind it what two
// bondd put into their handshake: Argon2id of 64 MiB and three passes, about 0.2 s of a processor.
inline constexpr std::size_t kPasswordKeys = 64;

// Fails without 64 MiB of memory, and for an empty password.
Result<Wiped<kPasswordKeys>> keys_of_password(std::string_view password);
// Whether these are the keys of that password: told by the first of them, at once.
bool is_password_of(const Wiped<kPasswordKeys>& keys, std::string_view password);
// Of a password's keys, to be kept on disk: 64 hexadecimal digits that tell nothing else of them.
std::string mark_of(const Wiped<kPasswordKeys>& keys);

}  // namespace bondd::mlvpn
