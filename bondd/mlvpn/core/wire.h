// The MLVPN datagram: a 28-byte header, then the body.
//
//   0   len              BE16  bytes of body (with the MAC when encrypted)
//   2   flags            LE16  version 4 bits, type 6, reorder 1, unused 5
//   4   timestamp        BE16  sender's milliseconds mod 65536, never 65535
//   6   timestamp_reply  BE16  echo of the peer's plus hold time, 65535 = none
//   8   flow_id          BE32  random per link and process start; in the nonce
//   12  seq              BE64  per link; in the nonce
//   20  data_seq         BE64  DATA packets of the endpoint; 0 in other types
//
// The header is neither encrypted nor authenticated, but for flow_id and seq
// through the nonce. The flag word is a C bit field of little-endian hosts, so
// it stands in the other byte order.
//
// Two bondd that have session keys say all but AUTH and AUTH_OK in as many bytes, of which only the
// length, the receive id and the number can be read on the way:
//
//   0   len              BE16  as above; bit 15: a MAC only, the rest is not enciphered
//   2   MAC, bytes 0-5
//   8   receive id       BE32  that the receiver chose: its link and keys
//   12  seq              BE64  per link; in the nonce
//   20  MAC, bytes 6-15
//   30  flags, timestamp, timestamp_reply, data_seq as above, 14 bytes; then the text: all under the MAC
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace bondd::mlvpn {

inline constexpr std::size_t kHeaderSize = 28;
inline constexpr std::size_t kMacSize = 16;
inline constexpr std::size_t kOverhead = kHeaderSize + kMacSize;
inline constexpr std::size_t kOutside = 42;        // Ethernet, IPv4 and UDP around each datagram on a line
inline constexpr std::size_t kMaxDatagram = 1500;  // upstream's receive buffer
inline constexpr std::uint16_t kNoTimestamp = 0xffff;

// 5 and above are unassigned upstream, where they are authenticated, used for
// timestamps and otherwise ignored; bondd speaks them only to a peer that
// announced itself (see capability.h).
enum class PacketType : std::uint8_t {
  kAuth = 0,
  kAuthOk = 1,
  kKeepalive = 2,
  kData = 3,
  kDisconnect = 4,
  kProbe = 5,       // bondd: "answer at once"; body: 8 bytes that come back
  kProbeReply = 6,  // bondd: the 8 bytes of the probe
  kFeedback = 7,    // bondd: what arrived, per link
  kNudge = 8,       // bondd: asks for FEEDBACK; zeros, to ask whether such a length passes
  kPadding = 9,     // bondd: to nobody; its passing through the line tells the line's rate
  kRest = 10,       // bondd: "I hear you well, my next word comes in N s"; body: see link_rest.cc
  kNotice = 16,     // bondd: what a daemon tells the other's, a text
};

struct Header {
  std::uint16_t length = 0;
  std::uint8_t version = 1;  // 0 to 15; 0 means: no reorder flag, no data_seq
  std::uint8_t type = 0;     // 0 to 63, may be none of PacketType
  bool reorder = true;
  std::uint8_t unused = 0;  // the 5 spare bits, kept so that parse and render are inverse
  std::uint16_t timestamp = 0;
  std::uint16_t timestamp_reply = kNoTimestamp;
  std::uint32_t flow_id = 0;
  std::uint64_t seq = 0;
  std::uint64_t data_seq = 0;

  [[nodiscard]] bool is(PacketType wanted) const { return type == static_cast<std::uint8_t>(wanted); }
  bool operator==(const Header&) const = default;
};

enum class ParseError : std::uint8_t { kNone, kTooShort, kTooLong, kEmptyBody, kLengthMismatch };

// Reads the header of a whole datagram. Strict where upstream is lax: `len`
// must be exactly what follows the header, so that no byte is invented or
// ignored. Any version, type and spare bits pass.
ParseError parse_header(std::span<const std::uint8_t> datagram, Header& out);

// Writes 28 bytes at `out`.
void render_header(const Header& header, std::uint8_t* out);

// --- under session keys: the header's other fields are the first bytes of the text
inline constexpr std::size_t kInnerHeaderSize = kOverhead - 30;
// Where the MAC stands while the text is sealed or opened: right before it, see BoxJob.
inline constexpr std::size_t kSessionBox = kOverhead - kInnerHeaderSize - kMacSize;

struct SessionFront {
  std::uint32_t receive_id = 0;
  std::uint64_t seq = 0;
  bool clear = false;
};

// The readable fields of a whole datagram of that kind; as strict about the length as parse_header.
// Nothing when it cannot be one.
std::optional<SessionFront> parse_session_front(std::span<const std::uint8_t> datagram);
// Puts the MAC together at kSessionBox, over the readable fields. Then the box can be opened.
void gather_session_mac(std::uint8_t* datagram);
// The inverse, after sealing: writes the readable fields. `size`: of the datagram.
void render_session_front(const SessionFront& front, std::size_t size, std::uint8_t* datagram);
// The other fields, at the front of the opened text (before it is sealed).
void parse_inner_header(const std::uint8_t* datagram, Header& out);
void render_inner_header(const Header& header, std::uint8_t* datagram);

// The sender's clock on the wire: milliseconds mod 65536 with 65535 avoided.
constexpr std::uint16_t wire_timestamp(std::int64_t milliseconds) {
  const auto t = static_cast<std::uint16_t>(milliseconds & 0xffff);
  return t == kNoTimestamp ? std::uint16_t{0} : t;
}

}  // namespace bondd::mlvpn
