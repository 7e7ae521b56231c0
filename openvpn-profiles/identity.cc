#include "openvpn-profiles/identity.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>

#include "bondd/base/file.h"

namespace bondd::openvpn {
namespace {

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* what) const {
    free_function(what);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;

constexpr long kDay = 24L * 3600;
constexpr long kYears = 30;

tl::unexpected<Error> openssl_failure(std::string_view what) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return failure(fmt::format("{}: {}", what, text.data()));
}

Bio bio_of(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string take(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

bool set_name(X509* certificate, std::string_view common_name) {
  X509_NAME* const name = X509_get_subject_name(certificate);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(common_name.data());
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, bytes, static_cast<int>(common_name.size()),
                                    -1, 0) == 1 &&
         X509_set_issuer_name(certificate, name) == 1;
}

bool set_serial(X509* certificate) {
  std::uint64_t serial = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) != 1) return false;
  return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1U | 1U) == 1;
}

Result<Certificate> sign_own(EVP_PKEY* key, std::string_view common_name) {
  Certificate certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), 2) != 1 || !set_serial(certificate.get()) ||
      X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kDay) == nullptr ||
      X509_time_adj_ex(X509_getm_notAfter(certificate.get()), 365 * kYears, 0, nullptr) == nullptr ||
      X509_set_pubkey(certificate.get(), key) != 1 || !set_name(certificate.get(), common_name) ||
      X509_sign(certificate.get(), key, EVP_sha256()) == 0) {
    return openssl_failure("cannot make a certificate");
  }
  return certificate;
}

Result<Certificate> parse_certificate(std::string_view pem) {
  const Bio bio = bio_of(pem);
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) return openssl_failure("no certificate in PEM");
  return certificate;
}

// Never asks on the terminal: a key with a pass phrase is an error.
int no_pass_phrase(char*, int, int, void*) {
  return 0;
}

Result<std::string> pair_fingerprint(const std::filesystem::path& key_file,
                                     const std::filesystem::path& certificate_file) {
  const Result<std::string> key_text = read_file(key_file);
  if (!key_text) return tl::make_unexpected(key_text.error());
  const Result<std::string> certificate_text = read_file(certificate_file);
  if (!certificate_text) return tl::make_unexpected(certificate_text.error());
  const Bio bio = bio_of(*key_text);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr));
  if (!key) {
    ERR_clear_error();
    return failure(fmt::format("{} holds no private key (in PEM, without a pass phrase)", key_file.string()));
  }
  const Result<Certificate> certificate = parse_certificate(*certificate_text);
  if (!certificate) return tl::make_unexpected(certificate.error().in(certificate_file.string()));
  if (X509_check_private_key(certificate->get(), key.get()) != 1) {
    ERR_clear_error();
    return failure(fmt::format("{} is not the key of {}", key_file.string(), certificate_file.string()));
  }
  return fingerprint(*certificate_text);
}

}  // namespace

Result<Identity> make_identity(std::string_view common_name) {
  if (common_name.empty() || common_name.size() > 64) {
    return failure("the name in a certificate has 1 to 64 bytes");
  }
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("cannot make a key");
  const Result<Certificate> certificate = sign_own(key.get(), common_name);
  if (!certificate) return tl::make_unexpected(certificate.error());
  const Bio key_bio(BIO_new(BIO_s_secmem())), certificate_bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(key_bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(certificate_bio.get(), certificate->get()) != 1) {
    return openssl_failure("cannot write a key");
  }
  return Identity{take(key_bio), take(certificate_bio)};
}

Result<std::string> fingerprint(std::string_view certificate_pem) {
  const Result<Certificate> certificate = parse_certificate(certificate_pem);
  if (!certificate) return tl::make_unexpected(certificate.error());
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(certificate->get(), EVP_sha256(), digest.data(), &size) != 1) {
    return openssl_failure("SHA-256");
  }
  std::string out;
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest[i]);
  return out;
}

Result<std::string> read_fingerprint(const std::filesystem::path& private_key,
                                     const std::filesystem::path& certificate) {
  return pair_fingerprint(private_key, certificate);
}

Result<std::string> ensure_identity(const std::filesystem::path& private_key,
                                    const std::filesystem::path& certificate, std::string_view common_name) {
  std::error_code ignored;
  const bool has_key = std::filesystem::exists(std::filesystem::symlink_status(private_key, ignored));
  const bool has_certificate = std::filesystem::exists(std::filesystem::symlink_status(certificate, ignored));
  if (has_key && has_certificate) return pair_fingerprint(private_key, certificate);
  if (has_key || has_certificate) {
    const auto& there = has_key ? private_key : certificate;
    const auto& missing = has_key ? certificate : private_key;
    return failure(fmt::format("{} is there, but {} is not: put it back, or remove {} to make both anew",
                               there.string(), missing.string(), there.string()));
  }
  const Result<Identity> made = make_identity(common_name);
  if (!made) return tl::make_unexpected(made.error());
  // The certificate last: with both there, both are whole.
  Result<> written = write_file_atomically(private_key, made->private_key, 0600);
  if (written) written = write_file_atomically(certificate, made->certificate, 0644);
  if (!written) {
    std::filesystem::remove(private_key, ignored);
    return tl::make_unexpected(written.error());
  }
  return fingerprint(made->certificate);
}

}  // namespace bondd::openvpn
