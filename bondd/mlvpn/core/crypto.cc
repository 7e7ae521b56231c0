#include "bondd/mlvpn/core/crypto.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "bondd/mlvpn/core/salsa.h"
#include "bondd/mlvpn/core/wire.h"

namespace bondd::mlvpn {
namespace {

constexpr std::size_t kKeySize = 32;

std::uint8_t* allocate_key() {
  // sodium_init is idempotent; without it the fast implementations stay unused.
  if (sodium_init() < 0) throw std::bad_alloc();
  void* p = sodium_malloc(kKeySize);
  if (p == nullptr) throw std::bad_alloc();
  std::memset(p, 0, kKeySize);
  return static_cast<std::uint8_t*>(p);
}

struct MacDeleter {
  void operator()(EVP_MAC* m) const { EVP_MAC_free(m); }
  void operator()(EVP_MAC_CTX* c) const { EVP_MAC_CTX_free(c); }
};

// One-time authenticator by OpenSSL, whose Poly1305 is vectorised further than
// libsodium's. The context lives as long as the box; a packet costs an init
// with its key, no allocation.
class Poly1305 {
 public:
  Poly1305() : mac_(EVP_MAC_fetch(nullptr, "POLY1305", nullptr)) {
    if (mac_) context_.reset(EVP_MAC_CTX_new(mac_.get()));
  }
  void compute(const std::uint8_t key[32], const std::uint8_t* text, std::size_t size,
               std::uint8_t out[kMacSize]) {
    std::size_t written = 0;
    if (context_ && EVP_MAC_init(context_.get(), key, kKeySize, nullptr) == 1 &&
        EVP_MAC_update(context_.get(), text, size) == 1 &&
        EVP_MAC_final(context_.get(), out, &written, kMacSize) == 1) {
      return;
    }
    // OpenSSL without POLY1305 (a FIPS build): the same value, slower.
    crypto_onetimeauth_poly1305(out, text, size, key);
  }

 private:
  std::unique_ptr<EVP_MAC, MacDeleter> mac_;
  std::unique_ptr<EVP_MAC_CTX, MacDeleter> context_;
};

}  // namespace

SecretKey::SecretKey() : bytes_(allocate_key()) {}
SecretKey::SecretKey(SecretKey&& other) noexcept : bytes_(std::exchange(other.bytes_, nullptr)) {}
SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}
SecretKey::~SecretKey() {
  if (bytes_ != nullptr) sodium_free(bytes_);  // wipes
}

SecretKey SecretKey::from_password(std::span<const std::uint8_t> password) {
  SecretKey key;
  crypto_generichash(key.bytes_, kKeySize, password.data(), password.size(), nullptr, 0);
  return key;
}

SecretKey SecretKey::from_bytes(std::span<const std::uint8_t, 32> bytes) {
  SecretKey key;
  std::memcpy(key.bytes_, bytes.data(), kKeySize);
  return key;
}

bool SecretKey::operator==(const SecretKey& other) const {
  return sodium_memcmp(bytes_, other.bytes_, kKeySize) == 0;
}

struct SecretBox::Impl {
  SecretKey key;
  const SalsaOps* salsa = &salsa_ops();
  Poly1305 poly;
  SalsaStream streams[kSalsaBatch] = {};

  void start(std::span<const BoxJob> jobs) {
    SalsaNonce nonces[kSalsaBatch];
    // Another one than a sealed text has, so that neither passes for the other.
    for (std::size_t i = 0; i < jobs.size(); ++i)
      nonces[i] = {jobs[i].seq, jobs[i].clear ? ~jobs[i].flow_id : jobs[i].flow_id};
    salsa->start(key.data(), nonces, jobs.size(), streams);
  }

  ~Impl() { sodium_memzero(streams, sizeof streams); }
};

SecretBox::SecretBox(const SecretKey& key) : impl_(std::make_unique<Impl>()) {
  impl_->key = SecretKey::from_bytes(std::span<const std::uint8_t, 32>(key.data(), kKeySize));
}
SecretBox::SecretBox(SecretBox&&) noexcept = default;
SecretBox& SecretBox::operator=(SecretBox&&) noexcept = default;
SecretBox::~SecretBox() = default;

void SecretBox::seal(std::span<BoxJob> jobs) {
  while (!jobs.empty()) {
    const auto batch = jobs.first(std::min(jobs.size(), kSalsaBatch));
    impl_->start(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const SalsaStream& stream = impl_->streams[i];
      std::uint8_t* text = batch[i].box + kMacSize;
      if (!batch[i].clear) salsa_xor(*impl_->salsa, stream, text, batch[i].text_size);
      impl_->poly.compute(stream.block0, text, batch[i].text_size, batch[i].box);
      batch[i].ok = true;
    }
    jobs = jobs.subspan(batch.size());
  }
}

void SecretBox::open(std::span<BoxJob> jobs) {
  while (!jobs.empty()) {
    const auto batch = jobs.first(std::min(jobs.size(), kSalsaBatch));
    impl_->start(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const SalsaStream& stream = impl_->streams[i];
      std::uint8_t mac[kMacSize];
      std::uint8_t* text = batch[i].box + kMacSize;
      impl_->poly.compute(stream.block0, text, batch[i].text_size, mac);
      batch[i].ok = crypto_verify_16(mac, batch[i].box) == 0;
      if (batch[i].ok && !batch[i].clear) salsa_xor(*impl_->salsa, stream, text, batch[i].text_size);
    }
    jobs = jobs.subspan(batch.size());
  }
}

const char* SecretBox::implementation() const {
  return impl_->salsa->name;
}

}  // namespace bondd::mlvpn
