#include "bondd/mlvpn/core/handshake.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {

std::optional<Handshake> parse_handshake(std::span<const std::uint8_t> text, const char* word) {
  Handshake result;
  if (text.empty()) return result;
  if (text.size() < 2 || std::memcmp(text.data(), word, 2) != 0) return std::nullopt;
  text = text.subspan(2);
  if (text.empty()) return result;
  if (text.size() < kAnnouncementSize || std::memcmp(text.data(), "bnd", 3) != 0) return std::nullopt;
  result.announcement = parse_announcement(text);
  text = text.subspan(kAnnouncementSize);
  if (!result.can(kCapProof) || text.size() < kProofSize) return result;
  result.proof = load_be<std::uint64_t>(text.data());
  text = text.subspan(kProofSize);
  const std::size_t size = word[0] == 'A' ? kHelloSize : kReplySize;
  if (result.can(kCapSession) && text.size() >= size) result.noise = text.first(size);
  return result;
}

HandshakeText render_handshake(const char* word, const std::optional<Announcement>& announcement,
                               bool with_proof, std::uint64_t proof, std::span<const std::uint8_t> noise) {
  HandshakeText text;
  std::memcpy(text.bytes.data(), word, 2);
  text.size = 2;
  if (!announcement) return text;
  render_announcement(*announcement, &text.bytes[2]);
  text.size += kAnnouncementSize;
  if (!with_proof) return text;
  store_be(&text.bytes[text.size], proof);
  text.size += kProofSize;
  std::copy(noise.begin(), noise.end(), &text.bytes[text.size]);
  text.size += noise.size();
  return text;
}

std::uint64_t ProofMaker::number(std::uint32_t flow_id) const {
  static_assert(sizeof(secret_) == crypto_shorthash_KEYBYTES);
  std::array<std::uint8_t, 12> what;
  store_be(&what[0], flow_id);
  store_be(&what[4], count_);
  std::array<std::uint8_t, crypto_shorthash_BYTES> hash;
  crypto_shorthash(hash.data(), what.data(), what.size(),
                   reinterpret_cast<const unsigned char*>(secret_.data()));
  return load_be<std::uint64_t>(hash.data()) | 1;
}

}  // namespace bondd::mlvpn
