// The handshakes Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b and Noise_KKpsk0_25519_ChaChaPoly_BLAKE2b of the Noise
// Protocol Framework, revision 34. Each has two messages:
//
//   NNpsk0   -> psk, e            <- e, ee                          who has the psk is the peer
//   KKpsk0   -> psk, e, es, ss    <- e, ee, se   (both know the other's static key beforehand)
//
// Each message is 32 bytes of a fresh public key and the payload with its MAC of 16. The first one may be
// recorded and sent again; who reads the second, or anything under the keys of split(), knows that the other
// end lives. Pure: the fresh private key is injected.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bondd/mlvpn/session/noise_hash.h"

namespace bondd::mlvpn {

using NoiseKey = Wiped<32>;

enum class NoisePattern : std::uint8_t { kNNpsk0, kKKpsk0 };

inline constexpr std::size_t kNoiseKeySize = 32;
inline constexpr std::size_t kNoiseOverhead = kNoiseKeySize + 16;  // of a message, above its payload

// The long-lived keys of KKpsk0. Borrowed for the length of the handshake.
struct NoiseStatics {
  std::span<const std::uint8_t, kNoiseKeySize> own_private, peer_public;
};

struct NoiseKeys {
  NoiseKey from_initiator, from_responder;
};

class Noise {
 public:
  enum class Side : std::uint8_t { kInitiator, kResponder };

  // Both ends give the same prologue. `fresh`: 32 random bytes that are used here and nowhere else.
  // KKpsk0 needs `statics`.
  Noise(NoisePattern pattern, Side side, std::span<const std::uint8_t> prologue,
        std::span<const std::uint8_t, 32> psk, NoiseKey fresh, std::optional<NoiseStatics> statics = {});

  // The initiator writes and reads, the responder reads and writes, each once.
  // write: `out` gets payload.size() + kNoiseOverhead bytes. False: the peer's key is no good (a product of
  // zero), nothing is to be sent.
  bool write(std::span<const std::uint8_t> payload, std::vector<std::uint8_t>& out);
  // read: false when the message was not made for us by somebody with the psk; the handshake is over then.
  bool read(std::span<const std::uint8_t> message, std::vector<std::uint8_t>& payload);

  // Both messages went: the keys of the two directions. The state is wiped.
  NoiseKeys split();
  // After the last message: the same at both ends, and different for each handshake.
  [[nodiscard]] const NoiseHash& hash() const { return hash_; }

 private:
  enum class Token : std::uint8_t { kPsk, kE, kEe, kEs, kSe, kSs };
  static std::span<const Token> tokens(NoisePattern pattern, bool first);

  void mix_hash(std::span<const std::uint8_t> bytes);
  void mix_key(std::span<const std::uint8_t> input);
  void mix_psk();
  bool mix_product(Token token);
  void encrypt(std::span<const std::uint8_t> payload, std::vector<std::uint8_t>& out);
  bool decrypt(std::span<const std::uint8_t> box, std::vector<std::uint8_t>& payload);
  void set_key(const NoiseHash& from);

  NoisePattern pattern_;
  bool initiator_;
  bool first_ = true;  // the next message is the first
  NoiseHash chaining_key_, hash_;
  NoiseKey key_;
  std::uint64_t nonce_ = 0;
  NoiseKey psk_, own_fresh_, own_static_;
  std::array<std::uint8_t, kNoiseKeySize> peer_fresh_{}, peer_static_{};
};

// The public key of a private one.
std::array<std::uint8_t, kNoiseKeySize> noise_public(std::span<const std::uint8_t, kNoiseKeySize> secret);

}  // namespace bondd::mlvpn
