#include "bondd/mlvpn/session/password.h"

#include <sodium.h>

#include <array>

namespace bondd::mlvpn {
namespace {

// libsodium's "interactive" memory and one pass more. It is paid once per start, by an attacker for each
// guess. Both ends must have the same: another value is another version of the handshake (kSessionPrologue).
constexpr std::size_t kMemory = 64 << 20;
constexpr unsigned long long kPasses = 3;
constexpr unsigned char kSalt[crypto_pwhash_SALTBYTES] = {'b', 'o', 'n', 'd', 'd', '-', '2'};

constexpr std::size_t kWireKey = 32;

void make_wire_key(std::uint8_t* out, std::string_view password) {
  crypto_generichash(out, kWireKey, reinterpret_cast<const unsigned char*>(password.data()), password.size(),
                     nullptr, 0);
}

}  // namespace

Result<Wiped<kPasswordKeys>> keys_of_password(std::string_view password) {
  if (password.empty()) return failure("the password is empty");
  if (sodium_init() < 0) return failure("libsodium does not start");
  Wiped<kPasswordKeys> keys;
  make_wire_key(keys.data(), password);
  if (crypto_pwhash(keys.data() + kWireKey, kPasswordKeys - kWireKey, password.data(), password.size(), kSalt,
                    kPasses, kMemory, crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return failure("64 MiB of memory are needed to make a key of the password, and cannot be had");
  }
  return keys;
}

bool is_password_of(const Wiped<kPasswordKeys>& keys, std::string_view password) {
  Wiped<kWireKey> wire;
  make_wire_key(wire.data(), password);
  return sodium_memcmp(wire.data(), keys.data(), kWireKey) == 0;
}

std::string mark_of(const Wiped<kPasswordKeys>& keys) {
  constexpr std::string_view kWhat = "the peer of these has session keys";
  std::array<unsigned char, 32> mark;
  crypto_generichash(mark.data(), mark.size(), reinterpret_cast<const unsigned char*>(kWhat.data()),
                     kWhat.size(), keys.data() + kWireKey, kPasswordKeys - kWireKey);
  std::string text(2 * mark.size() + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), mark.data(), mark.size());
  text.pop_back();
  return text;
}

}  // namespace bondd::mlvpn
