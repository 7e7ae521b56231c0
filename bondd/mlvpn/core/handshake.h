// What AUTH and AUTH_OK say. Upstream looks at none of it; a bondd checks all, since the
// type of a packet is not authenticated: any other packet must not pass for one of these.
//
//   AUTH      "AU"                      an original peer; old ones send no text at all
//             "AU" announcement         a bondd
//             "AU" announcement proof   one that proves that it is no recording (kCapProof)
//             "AU" announcement proof hello   one that wants session keys (kCapSession)
//   AUTH_OK   "OK" …                    the same four; proof: the number that AUTH is to show
//
// A client without our number sends zeros there, so that no answer is longer than its question.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "bondd/mlvpn/core/capability.h"
#include "bondd/mlvpn/session/hello.h"

namespace bondd::mlvpn {

inline constexpr std::size_t kProofSize = 8;
inline constexpr std::size_t kMaxHandshake = 2 + kAnnouncementSize + kProofSize + kHelloSize;

struct Handshake {
  std::optional<Announcement> announcement;
  std::uint64_t proof = 0;              // 0: none
  std::span<const std::uint8_t> noise;  // the message of Noise, inside the text that was parsed; empty: none

  [[nodiscard]] bool can(Capability c) const { return announcement && (announcement->capabilities & c) != 0; }
};

// Nothing when the text is none of those. `word` is "AU" or "OK".
std::optional<Handshake> parse_handshake(std::span<const std::uint8_t> text, const char* word);

struct HandshakeText {
  std::array<std::uint8_t, kMaxHandshake> bytes{};
  std::size_t size = 0;
  [[nodiscard]] std::span<const std::uint8_t> span() const { return std::span(bytes).first(size); }
};
// `with_proof`: the number has its place, be it 0. `noise` comes behind it.
HandshakeText render_handshake(const char* word, const std::optional<Announcement>& announcement,
                               bool with_proof = false, std::uint64_t proof = 0,
                               std::span<const std::uint8_t> noise = {});

// The numbers that a server gives to flows that it does not know. It keeps none of them:
// they are made of the flow's id, a secret, and a count of those that were shown.
class ProofMaker {
 public:
  explicit ProofMaker(const std::array<std::uint64_t, 2>& secret) : secret_(secret) {}
  // Never 0.
  [[nodiscard]] std::uint64_t number(std::uint32_t flow_id) const;
  // Was shown: none given so far is good again.
  void used() { ++count_; }

 private:
  std::array<std::uint64_t, 2> secret_;
  std::uint64_t count_ = 0;
};

}  // namespace bondd::mlvpn
