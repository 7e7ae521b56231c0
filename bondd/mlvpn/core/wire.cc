#include "bondd/mlvpn/core/wire.h"

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {

ParseError parse_header(std::span<const std::uint8_t> datagram, Header& out) {
  if (datagram.size() < kHeaderSize) return ParseError::kTooShort;
  if (datagram.size() > kMaxDatagram) return ParseError::kTooLong;
  const std::uint8_t* p = datagram.data();
  out.length = load_be<std::uint16_t>(p);
  if (out.length == 0) return ParseError::kEmptyBody;
  if (out.length != datagram.size() - kHeaderSize) return ParseError::kLengthMismatch;
  const auto flags = load_le<std::uint16_t>(p + 2);
  out.version = flags & 0x0f;
  out.type = (flags >> 4) & 0x3f;
  out.reorder = (flags >> 10 & 1) != 0;
  out.unused = static_cast<std::uint8_t>(flags >> 11);
  out.timestamp = load_be<std::uint16_t>(p + 4);
  out.timestamp_reply = load_be<std::uint16_t>(p + 6);
  out.flow_id = load_be<std::uint32_t>(p + 8);
  out.seq = load_be<std::uint64_t>(p + 12);
  out.data_seq = load_be<std::uint64_t>(p + 20);
  return ParseError::kNone;
}

void render_header(const Header& header, std::uint8_t* out) {
  const auto flags = static_cast<std::uint16_t>((header.version & 0x0f) | (header.type & 0x3f) << 4 |
                                                (header.reorder ? 1 : 0) << 10 | header.unused << 11);
  store_be<std::uint16_t>(out, header.length);
  store_le<std::uint16_t>(out + 2, flags);
  store_be<std::uint16_t>(out + 4, header.timestamp);
  store_be<std::uint16_t>(out + 6, header.timestamp_reply);
  store_be<std::uint32_t>(out + 8, header.flow_id);
  store_be<std::uint64_t>(out + 12, header.seq);
  store_be<std::uint64_t>(out + 20, header.data_seq);
}

}  // namespace bondd::mlvpn
