#include "bondd/mlvpn/session/password.h"

#include <sodium.h>

namespace bondd::mlvpn {
namespace {

// libsodium's "interactive" memory and one pass more. It is paid once per start, by an attacker for each
// guess. Both ends must have the same: another value is another version of the handshake (kSessionPrologue).
constexpr std::size_t kMemory = 64 << 20;
constexpr unsigned long long kPasses = 3;
constexpr unsigned char kSalt[crypto_pwhash_SALTBYTES] = {'b', 'o', 'n', 'd', 'd', '-', '2'};

}  // namespace

Result<Wiped<kPasswordKeys>> keys_of_password(std::string_view password) {
  if (password.empty()) return failure("the password is empty");
  if (sodium_init() < 0) return failure("libsodium does not start");
  Wiped<kPasswordKeys> keys;
  crypto_generichash(keys.data(), 32, reinterpret_cast<const unsigned char*>(password.data()),
                     password.size(), nullptr, 0);
  if (crypto_pwhash(keys.data() + 32, 32, password.data(), password.size(), kSalt, kPasses, kMemory,
                    crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return failure("64 MiB of memory are needed to make a key of the password, and cannot be had");
  }
  return keys;
}

}  // namespace bondd::mlvpn
