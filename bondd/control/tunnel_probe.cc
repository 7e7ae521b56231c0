#include "bondd/control/tunnel_probe.h"

namespace bondd::control {
namespace {

constexpr std::uint16_t kMagic = 0x424c;  // "BL"
constexpr std::uint8_t kProbeVersion = 1;
constexpr std::size_t kSizeWithoutMembers = 76;
constexpr std::uint8_t kTellsMembers = 1;  // a flag; an older bondd sends 0 and does not look

class Writer {
 public:
  explicit Writer(std::span<std::uint8_t> out) : out_(out) {}
  template <typename Int>
  void put(Int value) {
    for (std::size_t i = sizeof(Int); i-- > 0;) {
      out_[at_++] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
    }
  }

 private:
  std::span<std::uint8_t> out_;
  std::size_t at_ = 0;
};

class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> in) : in_(in) {}
  template <typename Int>
  Int get() {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Int); ++i) value = value << 8U | in_[at_++];
    return static_cast<Int>(value);
  }

 private:
  std::span<const std::uint8_t> in_;
  std::size_t at_ = 0;
};

}  // namespace

std::array<std::uint8_t, kProbeSize> render_probe(const Probe& probe) {
  std::array<std::uint8_t, kProbeSize> out{};
  Writer w(out);
  w.put(kMagic);
  w.put(kProbeVersion);
  w.put(probe.role);
  w.put(probe.tunnel);
  w.put(probe.member ? kTellsMembers : std::uint8_t{0});
  w.put(std::uint16_t{0});
  for (const std::uint32_t value : {probe.instance, probe.sequence, probe.tunnel_sequence, probe.sent_us,
                                    probe.echo_us, probe.held_us, probe.transit_us}) {
    w.put(value);
  }
  w.put(probe.hears);
  w.put(probe.ready);
  w.put(probe.fresh);
  w.put(probe.stuck);
  w.put(probe.member.value_or(0));
  return out;
}

std::optional<Probe> parse_probe(std::span<const std::uint8_t> payload) {
  if (payload.size() < kSizeWithoutMembers) return std::nullopt;
  Reader r(payload);
  if (r.get<std::uint16_t>() != kMagic || r.get<std::uint8_t>() != kProbeVersion) return std::nullopt;
  Probe probe;
  probe.role = r.get<std::uint8_t>();
  probe.tunnel = r.get<std::uint8_t>();
  const bool tells_members = (r.get<std::uint8_t>() & kTellsMembers) != 0;
  if (tells_members && payload.size() < kProbeSize) return std::nullopt;
  r.get<std::uint16_t>();
  for (std::uint32_t* const value : {&probe.instance, &probe.sequence, &probe.tunnel_sequence, &probe.sent_us,
                                     &probe.echo_us, &probe.held_us, &probe.transit_us}) {
    *value = r.get<std::uint32_t>();
  }
  probe.hears = r.get<std::uint64_t>();
  probe.ready = r.get<std::uint64_t>();
  probe.fresh = r.get<std::uint64_t>();
  probe.stuck = r.get<std::uint64_t>();
  probe.member = tells_members ? std::optional(r.get<std::uint64_t>()) : std::nullopt;
  if (probe.role > 1 || probe.tunnel >= kMaxTunnels || probe.instance == 0) return std::nullopt;
  return probe;
}

}  // namespace bondd::control
