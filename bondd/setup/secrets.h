// New secrets for both ends of a bond.
#pragma once

#include <string_view>
#include <utility>

#include "bondd/base/error.h"
#include "bondd/setup/agreement.h"

namespace bondd::setup {

struct CredentialPair {
  Credentials own, other;
};
// mlvpn: one password of 256 random bits, and a key pair for each end. openvpn-bond: a key and certificate
// for each end, each with the other's fingerprint, so that nothing has to be carried back. The names are for
// people only.
Result<CredentialPair> make_secrets(model::Backend backend, std::string_view own_name,
                                    std::string_view other_name);

// 16 random bytes as 32 hexadecimal digits.
std::string random_id();

}  // namespace bondd::setup
