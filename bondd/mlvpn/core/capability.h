// How two bondd find each other. AUTH and AUTH_OK carry two bytes of text that
// no upstream peer looks at beyond their being there; a bondd adds, encrypted:
//
//   4  "bnd" and the version of this layout, 1
//   4  capabilities, BE
//   8  session: random per engine, so that a restarted peer is told from a
//      link that signed on again
//   8  challenge: random in AUTH, the same in its AUTH_OK, so that a recorded
//      AUTH_OK is known for one
//
// Bytes beyond are for later versions and ignored. Extension types (wire.h) are
// only sent to a peer that announced the capability they stand under.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace bondd::mlvpn {

enum Capability : std::uint32_t {
  kCapProbe = 1U << 0,      // answers PROBE at once
  kCapFeedback = 1U << 1,   // understands FEEDBACK
  kCapFlowOrder = 1U << 2,  // understands DATA numbered by flow (header's spare bit 0)
  // Shows a server's number in AUTH (see handshake.h), and says "BYE" in DISCONNECT, so that
  // no other packet passes for one.
  kCapProof = 1U << 3,
  // Agrees on session keys inside AUTH and AUTH_OK (session/hello.h).
  kCapSession = 1U << 4,
  kCapRest = 1U << 5,       // understands REST: the next word comes late
  kCapClearData = 1U << 6,  // its file wants DATA that is not enciphered; in session it is when both say so
  kCapKeyPair = 1U << 7,    // has a key pair: no session keys with an end that has none
  kCapNotice = 1U << 8,     // hands NOTICE to its daemon
};

struct Announcement {
  std::uint32_t capabilities = 0;
  std::uint64_t session = 0;
  std::uint64_t challenge = 0;

  bool operator==(const Announcement&) const = default;
};

inline constexpr std::size_t kAnnouncementSize = 24;

// What follows the two bytes of AUTH or AUTH_OK; nothing for an upstream peer.
std::optional<Announcement> parse_announcement(std::span<const std::uint8_t> body);
void render_announcement(const Announcement& announcement, std::uint8_t out[kAnnouncementSize]);

// What this version can; kCapSession comes with the secret that it needs, kCapClearData and kCapKeyPair
// are the file's.
inline constexpr std::uint32_t kOurCapabilities =
    kCapProbe | kCapFeedback | kCapFlowOrder | kCapProof | kCapRest | kCapNotice;

}  // namespace bondd::mlvpn
