// Packets from the tunnel into the device, joined, and super-packets from the device,
// cut: contradictory headers and lengths cost a packet, never memory. What is joined
// keeps every byte of payload.
#include <cstdint>
#include <cstring>
#include <vector>

#include "bondd/mlvpn/io/checksum.h"
#include "bondd/mlvpn/io/coalesce.h"
#include "bondd/mlvpn/io/segment.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/reader.h"

namespace {

using namespace bondd::mlvpn;
using bondd::test::FuzzReader;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kMaxBatch = 64;

void cut(FuzzReader& in, DeviceKind kind) {
  VnetHeader header;
  header.flags = in.byte();
  header.gso_type = in.byte();
  header.hdr_len = in.number<std::uint16_t>();
  header.gso_size = in.number<std::uint16_t>();
  header.csum_start = in.number<std::uint16_t>();
  header.csum_offset = in.number<std::uint16_t>();
  const std::size_t max_segment = 68 + in.number<std::uint16_t>() % 1400U;
  // A multiple of what is left, so that small inputs make large packets.
  Bytes packet = in.bytes(4096);
  const std::size_t whole = packet.size() * (1 + in.byte() % 16);
  for (std::size_t i = packet.size(); i > 0 && packet.size() < whole && packet.size() < 65535;) {
    packet.push_back(packet[packet.size() - i]);
  }
  const SegmentPlan plan = SegmentPlan::make(kind, header, packet, max_segment);
  FUZZ_CHECK((plan.error() == SegmentError::kNone) == (plan.count() > 0));
  for (std::size_t i = 0; i < plan.count(); ++i) {
    FUZZ_CHECK(plan.size(i) <= max_segment);
    Bytes out(plan.size(i));  // exactly, for the sanitizer
    plan.write(i, out.data());
  }
}

// Writes the checksums that the packet should have, so that it is worth joining.
void mend(DeviceKind kind, Bytes& packet) {
  const auto view = parse_plain_packet(kind, packet);
  if (!view) return;
  const auto store = [&](std::size_t at, std::uint64_t sum) {
    const auto value = static_cast<std::uint16_t>(~checksum_fold(sum));
    std::memcpy(packet.data() + at, &value, sizeof value);
  };
  const std::span<const std::uint8_t> bytes(packet);
  if (!view->ipv6) {
    store_be16(packet.data() + view->l3 + 10, 0);
    store(view->l3 + 10, checksum_add(bytes.subspan(view->l3, view->l4 - view->l3)));
  }
  const std::size_t field = view->l4 + (view->protocol == kProtocolTcp ? 16 : 6);
  store_be16(packet.data() + field, 0);
  const std::size_t length = view->end - view->l4;
  store(field, checksum_add(bytes.subspan(view->l4, length),
                            pseudo_header_sum(view->addresses(packet.data()), view->protocol, length)));
}

void join(FuzzReader& in, DeviceKind kind) {
  Coalescer coalescer(kind, {.tcp4 = in.flag(), .tcp6 = in.flag(), .udp = in.flag()});
  std::vector<Bytes> packets;
  Bytes packet;
  while (!in.done() && packets.size() < kMaxBatch) {
    // Mostly the packet before with a few bytes changed: a flow.
    if (packet.empty() || in.byte() % 8 == 0) packet = in.bytes(in.byte());
    for (int n = in.byte() % 4; n > 0 && !packet.empty(); --n) packet[in.byte() % packet.size()] = in.byte();
    if (in.byte() % 4 != 0) mend(kind, packet);
    if (!packet.empty()) packets.push_back(packet);
  }
  std::size_t before = 0;
  for (Bytes& p : packets) {
    before += p.size();
    FUZZ_CHECK(coalescer.add(p));
  }
  coalescer.finish();
  std::size_t joined = 0, after = 0;
  for (std::size_t i = 0; i < coalescer.writes(); ++i) {
    joined += coalescer.packets(i);
    const auto slices = coalescer.slices(i);
    FUZZ_CHECK(!slices.empty() && slices[0].iov_len == sizeof(VnetHeader));
    std::size_t size = 0;
    for (const iovec& slice : slices.subspan(1)) {
      Bytes copy(slice.iov_len);
      if (!copy.empty()) std::memcpy(copy.data(), slice.iov_base, slice.iov_len);
      size += slice.iov_len;
    }
    FUZZ_CHECK(size <= 65535 + 14 + 8);
    after += size;
  }
  FUZZ_CHECK(joined == packets.size() && after <= before);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzReader in(data, size);
  const DeviceKind kind = in.flag() ? DeviceKind::kTap : DeviceKind::kTun;
  if (in.flag()) {
    cut(in, kind);
  } else {
    join(in, kind);
  }
  return 0;
}
