// What tells the two ends of a bond apart, and from everybody else who has the password: each end's own
// private key, and the other one's public key. Curve25519.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "bondd/base/error.h"
#include "bondd/mlvpn/session/noise.h"
#include "bondd/mlvpn/session/password.h"

namespace bondd::mlvpn {

struct KeyPair {
  NoiseKey own_private;
  std::array<std::uint8_t, kNoiseKeySize> peer_public{};
};

// In constant time.
bool same(const std::optional<KeyPair>& a, const std::optional<KeyPair>& b);

// What bondd-engine gets: the password's keys, this end's private key, the other one's public key; zeros
// where there is no pair.
inline constexpr std::size_t kKeyPairBytes = 2 * kNoiseKeySize;
using EngineKeys = Wiped<kPasswordKeys + kKeyPairBytes>;
EngineKeys engine_keys(const Wiped<kPasswordKeys>& password, const std::optional<KeyPair>& pair);
std::optional<KeyPair> key_pair_in(const EngineKeys& keys);

// A file of two lines, "private = KEY" and "peer = KEY", each key 43 characters of base64url. Fails for
// anything else, and says which line it is.
Result<KeyPair> parse_key_file(std::string_view text);
std::string render_key_file(const KeyPair& pair);

}  // namespace bondd::mlvpn
