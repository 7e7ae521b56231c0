#include "bondd/setup/secrets.h"

#include <fmt/format.h>
#include <sodium.h>

#include <array>

#include "bondd/mlvpn/session/key_pair.h"
#include "openvpn-profiles/identity.h"

namespace bondd::setup {
namespace {

std::string make_password() {
  std::array<unsigned char, 32> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  std::array<char, sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_URLSAFE_NO_PADDING)> text{};
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  sodium_memzero(bytes.data(), bytes.size());
  return text.data();
}

CredentialPair make_mlvpn_secrets() {
  mlvpn::KeyPair own, other;
  randombytes_buf(own.own_private.data(), mlvpn::kNoiseKeySize);
  randombytes_buf(other.own_private.data(), mlvpn::kNoiseKeySize);
  own.peer_public = mlvpn::noise_public(other.own_private.span());
  other.peer_public = mlvpn::noise_public(own.own_private.span());
  const std::string password = make_password();
  return {{.password = password, .key_pair = mlvpn::render_key_file(own)},
          {.password = password, .key_pair = mlvpn::render_key_file(other)}};
}

Result<CredentialPair> make_identities(std::string_view own_name, std::string_view other_name) {
  const auto own = openvpn::make_identity(own_name);
  if (!own) return tl::make_unexpected(own.error());
  const auto other = openvpn::make_identity(other_name);
  if (!other) return tl::make_unexpected(other.error());
  const auto own_print = openvpn::fingerprint(own->certificate);
  const auto other_print = openvpn::fingerprint(other->certificate);
  if (!own_print || !other_print) return tl::make_unexpected((own_print ? other_print : own_print).error());
  return CredentialPair{Credentials{{}, {}, own->private_key, own->certificate, *other_print},
                        Credentials{{}, {}, other->private_key, other->certificate, *own_print}};
}

}  // namespace

Result<CredentialPair> make_secrets(model::Backend backend, std::string_view own_name,
                                    std::string_view other_name) {
  if (sodium_init() < 0) return failure("libsodium cannot start: no random numbers");
  if (backend == model::Backend::kOpenVpnBond) return make_identities(own_name, other_name);
  return make_mlvpn_secrets();
}

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  std::string out;
  for (const unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

}  // namespace bondd::setup
