// XSalsa20-Poly1305 as libsodium's secretbox, byte for byte, detached and in
// place: the 16 bytes of the MAC stand right before the text. Batches, so that
// an implementation may work on many packets at once.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "bondd/mlvpn/session/key_pair.h"

namespace bondd::mlvpn {

// The 32 bytes that both ends share. Kept out of core dumps and swap where the
// system allows it, wiped when it goes. Move-only, so that no copy is left.
class SecretKey {
 public:
  SecretKey();  // all zero
  SecretKey(SecretKey&&) noexcept;
  SecretKey& operator=(SecretKey&&) noexcept;
  ~SecretKey();

  // BLAKE2b-256 of the password's bytes, as upstream derives it. The caller
  // wipes the password.
  static SecretKey from_password(std::span<const std::uint8_t> password);
  static SecretKey from_bytes(std::span<const std::uint8_t, 32> bytes);

  [[nodiscard]] const std::uint8_t* data() const { return bytes_; }
  bool operator==(const SecretKey& other) const;  // constant time

 private:
  std::uint8_t* bytes_;  // sodium_malloc: locked and guarded
};

// What the two ends share. `psk`: the better-made key of the same password that two bondd put into their
// handshake; without it there are no session keys. `pair`: who the two ends are; without it, whoever has the
// password.
struct Secrets {
  SecretKey key;
  std::optional<SecretKey> psk{};
  std::optional<KeyPair> pair{};
  Secrets(SecretKey wire_key,
          std::optional<SecretKey> handshake_key = {})  // NOLINT(google-explicit-constructor)
      : key(std::move(wire_key)), psk(std::move(handshake_key)) {}
};

// One packet to seal or to open. `box` points at the MAC's place; the text
// follows 16 bytes later and is changed in place.
struct BoxJob {
  std::uint8_t* box = nullptr;
  std::uint32_t text_size = 0;
  std::uint32_t flow_id = 0;
  std::uint64_t seq = 0;
  bool ok = false;     // set by open
  bool clear = false;  // the MAC only: the text stays as it is. Under a nonce of its own
};

// Seals and opens under one key. Holds the working state of one thread.
class SecretBox {
 public:
  explicit SecretBox(const SecretKey& key);
  SecretBox(SecretBox&&) noexcept;
  SecretBox& operator=(SecretBox&&) noexcept;
  ~SecretBox();

  // Encrypts every text and writes its MAC.
  void seal(std::span<BoxJob> jobs);
  // Checks every MAC in constant time, sets `ok`, and decrypts only the texts
  // whose MAC is right; the others keep their bytes.
  void open(std::span<BoxJob> jobs);

  // What does the work on this processor, for logs: "avx512", "libsodium", ….
  [[nodiscard]] const char* implementation() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bondd::mlvpn
