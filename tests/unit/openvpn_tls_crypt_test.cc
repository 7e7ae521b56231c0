#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "openvpn-profiles/tls_crypt.h"

namespace bondd::openvpn {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

// "00:01:…:1F", or "FF:FE:…:E0".
std::string rising() {
  std::string out;
  for (int i = 0; i < 32; ++i) out += fmt::format("{}{:02X}", i == 0 ? "" : ":", i);
  return out;
}
std::string falling() {
  std::string out;
  for (int i = 0; i < 32; ++i) out += fmt::format("{}{:02X}", i == 0 ? "" : ":", 255 - i);
  return out;
}

TEST(TlsCryptKey, IsTheSameOnBothEnds) {
  EXPECT_EQ(*derive_tls_crypt_key(rising(), falling()), *derive_tls_crypt_key(falling(), rising()));
  std::string small = rising();
  for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  EXPECT_EQ(*derive_tls_crypt_key(small, falling()), *derive_tls_crypt_key(rising(), falling()));
}

TEST(TlsCryptKey, AnotherCertificateGivesAnotherKey) {
  std::string other = rising();
  other.back() = 'E';
  EXPECT_NE(*derive_tls_crypt_key(rising(), falling()), *derive_tls_crypt_key(other, falling()));
}

// From Python's hmac and hashlib, by RFC 5869: an end of another version must make the same.
TEST(TlsCryptKey, IsHkdfSha256OfBothFingerprints) {
  const std::string key = *derive_tls_crypt_key(rising(), falling());
  EXPECT_THAT(key, StartsWith("-----BEGIN OpenVPN Static key V1-----\n31a396c3677086b0a69cbe33c8421329\n"));
  EXPECT_THAT(key, EndsWith("\nb64100e11eea2a6ebe0d8a98aaec8997\n-----END OpenVPN Static key V1-----\n"));
  EXPECT_EQ(std::count(key.begin(), key.end(), '\n'), 18);
}

}  // namespace
}  // namespace bondd::openvpn
