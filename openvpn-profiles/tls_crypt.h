// The key of openvpn's tls-crypt: who does not have it gets no answer, and costs the server one HMAC a
// datagram. It is not what authenticates the peer; the pinned certificates are.
#pragma once

#include <string>
#include <string_view>

#include "bondd/base/error.h"

namespace bondd::openvpn {

// The key of two ends that share no file: HKDF-SHA-256 (RFC 5869) of the fingerprints of both certificates,
// in either order, as text of an OpenVPN static key. TLS 1.3 shows no certificate on the way, so that
// strangers cannot make it. Fingerprints as fingerprint() gives them; small letters are accepted.
Result<std::string> derive_tls_crypt_key(std::string_view one, std::string_view other);

}  // namespace bondd::openvpn
