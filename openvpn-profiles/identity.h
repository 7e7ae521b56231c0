// Who an end is, without any authority: a private key and a certificate that it
// signed itself. The other end pins the certificate's fingerprint.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "bondd/base/error.h"

namespace bondd::openvpn {

struct Identity {
  std::string private_key, certificate;  // PEM
};

// An EC P-256 key and its certificate, valid from yesterday (clocks differ) for 30
// years. `common_name`: 1 to 64 bytes, for people only.
Result<Identity> make_identity(std::string_view common_name);

// SHA-256 of the certificate as openvpn's peer-fingerprint wants it: "AB:CD:…", 95 bytes.
Result<std::string> fingerprint(std::string_view certificate_pem);

// The fingerprint of what stands in the two files, after a check that the key is the
// certificate's.
Result<std::string> read_fingerprint(const std::filesystem::path& private_key,
                                     const std::filesystem::path& certificate);

// The same; makes both files first when neither is there, the key with mode 0600, the
// certificate with 0644. What is there is never overwritten.
Result<std::string> ensure_identity(const std::filesystem::path& private_key,
                                    const std::filesystem::path& certificate, std::string_view common_name);

}  // namespace bondd::openvpn
