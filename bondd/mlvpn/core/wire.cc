#include "bondd/mlvpn/core/wire.h"

#include <algorithm>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {
namespace {

constexpr std::uint16_t kClearBit = 0x8000;  // of the length, which has 11 bits
constexpr std::size_t kInnerAt = kOverhead - kInnerHeaderSize;
constexpr std::size_t kMacFront = 6;  // bytes of it that stand before the receive id

void parse_flags(std::uint16_t flags, Header& out) {
  out.version = flags & 0x0f;
  out.type = (flags >> 4) & 0x3f;
  out.reorder = (flags >> 10 & 1) != 0;
  out.unused = static_cast<std::uint8_t>(flags >> 11);
}

std::uint16_t flags_of(const Header& header) {
  return static_cast<std::uint16_t>((header.version & 0x0f) | (header.type & 0x3f) << 4 |
                                    (header.reorder ? 1 : 0) << 10 | header.unused << 11);
}

}  // namespace

ParseError parse_header(std::span<const std::uint8_t> datagram, Header& out) {
  if (datagram.size() < kHeaderSize) return ParseError::kTooShort;
  if (datagram.size() > kMaxDatagram) return ParseError::kTooLong;
  const std::uint8_t* p = datagram.data();
  out.length = load_be<std::uint16_t>(p);
  if (out.length == 0) return ParseError::kEmptyBody;
  if (out.length != datagram.size() - kHeaderSize) return ParseError::kLengthMismatch;
  parse_flags(load_le<std::uint16_t>(p + 2), out);
  out.timestamp = load_be<std::uint16_t>(p + 4);
  out.timestamp_reply = load_be<std::uint16_t>(p + 6);
  out.flow_id = load_be<std::uint32_t>(p + 8);
  out.seq = load_be<std::uint64_t>(p + 12);
  out.data_seq = load_be<std::uint64_t>(p + 20);
  return ParseError::kNone;
}

void render_header(const Header& header, std::uint8_t* out) {
  store_be<std::uint16_t>(out, header.length);
  store_le<std::uint16_t>(out + 2, flags_of(header));
  store_be<std::uint16_t>(out + 4, header.timestamp);
  store_be<std::uint16_t>(out + 6, header.timestamp_reply);
  store_be<std::uint32_t>(out + 8, header.flow_id);
  store_be<std::uint64_t>(out + 12, header.seq);
  store_be<std::uint64_t>(out + 20, header.data_seq);
}

std::optional<SessionFront> parse_session_front(std::span<const std::uint8_t> datagram) {
  if (datagram.size() < kOverhead || datagram.size() > kMaxDatagram) return std::nullopt;
  const auto length = load_be<std::uint16_t>(datagram.data());
  if ((length & ~kClearBit) != datagram.size() - kHeaderSize) return std::nullopt;
  return SessionFront{load_be<std::uint32_t>(datagram.data() + 8),
                      load_be<std::uint64_t>(datagram.data() + 12), (length & kClearBit) != 0};
}

void gather_session_mac(std::uint8_t* datagram) {
  std::copy_n(datagram + 2, kMacFront, datagram + kSessionBox);
}

void render_session_front(const SessionFront& front, std::size_t size, std::uint8_t* datagram) {
  std::copy_n(datagram + kSessionBox, kMacFront, datagram + 2);
  store_be(datagram, static_cast<std::uint16_t>((size - kHeaderSize) | (front.clear ? kClearBit : 0U)));
  store_be(datagram + 8, front.receive_id);
  store_be(datagram + 12, front.seq);
}

void parse_inner_header(const std::uint8_t* datagram, Header& out) {
  const std::uint8_t* p = datagram + kInnerAt;
  parse_flags(load_le<std::uint16_t>(p), out);
  out.timestamp = load_be<std::uint16_t>(p + 2);
  out.timestamp_reply = load_be<std::uint16_t>(p + 4);
  out.data_seq = load_be<std::uint64_t>(p + 6);
}

void render_inner_header(const Header& header, std::uint8_t* datagram) {
  std::uint8_t* p = datagram + kInnerAt;
  store_le(p, flags_of(header));
  store_be(p + 2, header.timestamp);
  store_be(p + 4, header.timestamp_reply);
  store_be(p + 6, header.data_seq);
}

}  // namespace bondd::mlvpn
