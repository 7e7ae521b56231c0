// The engine without any I/O: nanoseconds per packet from tun to the wire and
// from the wire to tun, for a client and a server in one process with two links.
//   core_bench [PAYLOAD] [clear] [password]      password: without session keys
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bondd/mlvpn/core/engine.h"

namespace {

using namespace bondd;
using namespace bondd::mlvpn;
// CPU time of this thread: what a busy machine takes away does not count.
struct Clock {
  static std::chrono::nanoseconds now() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  }
};

constexpr int kTurns = 20000;
constexpr std::size_t kBurst = 48;  // a TSO super-packet

struct End {
  Engine engine;
  std::chrono::nanoseconds sending{}, receiving{};

  End(TimePoint now, Role role, bool clear, bool sessions)
      : engine(now, config_of(role, clear),
               {SecretKey::from_password({}), sessions ? std::optional(SecretKey()) : std::nullopt}) {}
  static EngineConfig config_of(Role role, bool clear) {
    EngineConfig config;
    config.role = role;
    config.clear_data = clear;
    config.seed.fill(role == Role::kClient ? 1 : 2);
    config.wall_clock_us = 1'800'000'000'000'000;
    return config;
  }
};

const Endpoint kFar[2] = {{IpAddress::v4(0x0a000001), 1194}, {IpAddress::v4(0x0a000001), 1196}};

// Moves what `from` sends into `to`, as runs of equal datagrams.
std::size_t carry(TimePoint now, End& from, End& to, std::vector<std::uint8_t>& slab) {
  std::size_t delivered = 0;
  for (;;) {
    Transmit t;
    auto start = Clock::now();
    const bool some = from.engine.poll_transmit(now, t);
    from.sending += Clock::now() - start;
    if (!some) return delivered;
    std::size_t size = 0;
    for (const PacketRef& p : t.packets) {
      std::memcpy(slab.data() + size, p.data, p.size);
      size += p.size;
    }
    const ReceivedRun run{kFar[t.path], std::span(slab).first(size), t.packets[0].size};
    const LinkId path = t.path;
    from.engine.recycle(t.packets);
    start = Clock::now();
    to.engine.handle_datagrams(now, path, {&run, 1});
    PacketRef out[64];
    while (const std::size_t n = to.engine.poll_deliver(out)) {
      delivered += n;
      to.engine.recycle(std::span(out).first(n));
    }
    to.engine.end_round();
    to.receiving += Clock::now() - start;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t payload = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 1400;
  const std::vector<std::string> words(argv + std::min(argc, 2), argv + argc);
  const bool clear = std::ranges::count(words, "clear") > 0;
  const bool sessions = std::ranges::count(words, "password") == 0;
  TimePoint now{std::chrono::hours(1)};
  End client(now, Role::kClient, clear, sessions), server(now, Role::kServer, clear, sessions);
  for (int i = 0; i < 2; ++i) {
    LinkConfig link;
    link.name = i == 0 ? "ovh" : "orange";
    (void)server.engine.add_link(now, link);
    link.remote = kFar[i];
    (void)client.engine.add_link(now, link);
  }
  std::vector<std::uint8_t> slab(1 << 17);
  std::size_t packets = 0, delivered = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    now += std::chrono::microseconds(100);
    if (turn == 2000) {  // warm, and the links are up
      client.sending = server.receiving = {};
      packets = delivered = 0;
    }
    std::vector<PacketRef> burst;
    for (std::size_t i = 0; i < kBurst && client.engine.packet_budget() > i; ++i) {
      auto p = client.engine.pool().take();
      if (!p) break;
      // An inner IPv4 TCP packet as far as anybody looks.
      std::memset(p->data, 0, payload);
      p->data[0] = 0x45;
      p->data[9] = 6;
      p->size = static_cast<std::uint32_t>(payload);
      burst.push_back(*p);
    }
    packets += burst.size();
    const auto start = Clock::now();
    client.engine.handle_packets(now, burst);
    client.sending += Clock::now() - start;
    for (End* end : {&client, &server}) {
      if (const auto at = end->engine.poll_timeout(); at && *at <= now) end->engine.handle_timeout(now);
    }
    delivered += carry(now, client, server, slab);
    (void)carry(now, server, client, slab);
  }
  const auto per = [&](std::chrono::nanoseconds t) {
    return static_cast<double>(t.count()) / static_cast<double>(packets);
  };
  fmt::print("{} bytes, {}: send {:.0f} ns, receive {:.0f} ns a packet; {} of {} delivered\n", payload,
             clear ? "clear" : client.engine.crypto_implementation(), per(client.sending),
             per(server.receiving), delivered, packets);
  return delivered > 0 ? 0 : 1;
}
