// Frames from the other end of a tap, at any time: the input is a list of records, each a pause
// in milliseconds, a tunnel and a payload.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>

#include "bondd/control/liveness.h"
#include "tests/fuzz/check.h"

using namespace bondd;
using namespace bondd::control;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::uint8_t> rest(data, size);
  TimePoint now(std::chrono::seconds(1));
  Liveness live({}, now);
  live.set_tunnels(now, {{"tap1", "a"}, {"tap2", "b"}, {"tap3", "c"}});
  const char* const taps[] = {"tap1", "tap2", "tap3", "none"};
  std::uint64_t frames = 0;
  while (rest.size() >= 2) {
    now += std::chrono::milliseconds(rest[0]);
    const char* const tap = taps[rest[1] & 3U];
    const std::size_t length = std::min<std::size_t>(rest.size() - 2, kProbeSize);
    const auto payload = rest.subspan(2, length);
    if (const auto probe = parse_probe(payload)) {
      const auto again = parse_probe(render_probe(*probe));
      FUZZ_CHECK(again == probe);
    }
    if ((rest[1] & 4U) != 0) live.handle_counters(now, tap, ++frames, rest[1]);
    if ((rest[1] & 8U) != 0) live.handle_restart(now, tap);
    live.handle_probe(now, tap, payload);
    live.handle_timeout(now);
    FUZZ_CHECK(live.poll_timeout() >= now);
    for (unsigned sent = 0; live.poll_transmit(now); ++sent) FUZZ_CHECK(sent < 3);
    while (live.poll_change()) {
    }
    FUZZ_CHECK(live.dead().size() < 3);  // never all of them
    rest = rest.subspan(2 + length);
  }
  return 0;
}
