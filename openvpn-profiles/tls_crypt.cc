#include "openvpn-profiles/tls_crypt.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>

namespace bondd::openvpn {
namespace {

// Both ends must have the same: a change here is a change of what travels.
constexpr std::string_view kSalt = "bondd", kInfo = "tls-crypt from two fingerprints";
constexpr std::size_t kKeySize = 256, kLineSize = 16;  // bytes of OpenVPN's static keys, and of one line

struct FreeContext {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

bool expand(std::string_view input, std::array<unsigned char, kKeySize>& key) {
  const std::unique_ptr<EVP_PKEY_CTX, FreeContext> context(EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr));
  std::size_t size = key.size();
  return context && EVP_PKEY_derive_init(context.get()) == 1 &&
         EVP_PKEY_CTX_set_hkdf_md(context.get(), EVP_sha256()) == 1 &&
         EVP_PKEY_CTX_set1_hkdf_salt(context.get(), bytes(kSalt), static_cast<int>(kSalt.size())) == 1 &&
         EVP_PKEY_CTX_set1_hkdf_key(context.get(), bytes(input), static_cast<int>(input.size())) == 1 &&
         EVP_PKEY_CTX_add1_hkdf_info(context.get(), bytes(kInfo), static_cast<int>(kInfo.size())) == 1 &&
         EVP_PKEY_derive(context.get(), key.data(), &size) == 1 && size == key.size();
}

}  // namespace

Result<std::string> derive_tls_crypt_key(std::string_view one, std::string_view other) {
  std::array<std::string, 2> prints{upper(one), upper(other)};
  std::sort(prints.begin(), prints.end());
  std::array<unsigned char, kKeySize> key{};
  if (!expand(prints[0] + prints[1], key)) return failure("OpenSSL cannot derive a key (HKDF-SHA-256)");
  std::string out = "-----BEGIN OpenVPN Static key V1-----\n";
  for (std::size_t i = 0; i < key.size(); ++i)
    out += fmt::format("{:02x}{}", key[i], (i + 1) % kLineSize == 0 ? "\n" : "");
  OPENSSL_cleanse(key.data(), key.size());
  return out + "-----END OpenVPN Static key V1-----\n";
}

}  // namespace bondd::openvpn
