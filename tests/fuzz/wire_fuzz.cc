// One datagram from anybody: what parses renders back to the same bytes.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "bondd/mlvpn/core/capability.h"
#include "bondd/mlvpn/core/wire.h"
#include "tests/fuzz/check.h"

namespace {

using namespace bondd::mlvpn;

void check_announcement(std::span<const std::uint8_t> body) {
  const auto announcement = parse_announcement(body);
  if (!announcement) return;
  std::uint8_t rendered[kAnnouncementSize];
  render_announcement(*announcement, rendered);
  FUZZ_CHECK(parse_announcement(rendered) == announcement);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> datagram(data, size);
  check_announcement(datagram);
  Header header;
  if (parse_header(datagram, header) != ParseError::kNone) return 0;
  FUZZ_CHECK(size > kHeaderSize && size <= kMaxDatagram && header.length == size - kHeaderSize);
  std::vector<std::uint8_t> rendered(kHeaderSize);
  render_header(header, rendered.data());
  FUZZ_CHECK(std::equal(rendered.begin(), rendered.end(), data));
  return 0;
}
