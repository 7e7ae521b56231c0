// What two bondd say inside the handshake, sealed: the payloads of the two messages of Noise.
//
//   AUTH      time of day 8 · receive id 4 · continued flow 4 · capabilities 4 · name 8
//   AUTH_OK                   receive id 4 · continued flow 4 · capabilities 4 · name 8
//
// All big-endian. Bytes beyond are for later versions and ignored.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "bondd/mlvpn/session/noise.h"

namespace bondd::mlvpn {

// Both ends' prologue: another layout of this or another use of the keys gets another one.
inline constexpr std::string_view kSessionPrologue = "bondd-2";

struct Hello {
  // Of the client's system, in microseconds: an older one than before is a recording. 0 in AUTH_OK.
  std::uint64_t time_us = 0;
  std::uint32_t receive_id = 0;  // packets for the sender of this carry it
  std::uint32_t continues =
      0;  // the flow of such packets that goes on under the new keys; 0: a new one begins
  std::uint32_t capabilities = 0;  // as announced outside of this
  std::uint64_t name = 0;          // of the WAN, see name_hash()

  bool operator==(const Hello&) const = default;
};

inline constexpr std::size_t kHelloPayload = 28, kReplyPayload = 20;
inline constexpr std::size_t kHelloSize = kNoiseOverhead + kHelloPayload;
inline constexpr std::size_t kReplySize = kNoiseOverhead + kReplyPayload;

std::array<std::uint8_t, kHelloPayload> render_hello(const Hello& hello);
std::array<std::uint8_t, kReplyPayload> render_reply(const Hello& reply);
std::optional<Hello> parse_hello(std::span<const std::uint8_t> payload);
std::optional<Hello> parse_reply(std::span<const std::uint8_t> payload);

// Tells lines apart, keeps no secret.
std::uint64_t name_hash(std::string_view name);

}  // namespace bondd::mlvpn
