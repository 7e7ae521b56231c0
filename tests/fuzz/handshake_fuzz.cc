// AUTH and AUTH_OK of two ends with session keys, their texts changed before they are sealed under the
// password's key: what its holder may send. And the parsers alone.
//
// Holds always: no text that was changed inside the handshake of Noise gives a session, and the two find each
// other as soon as nothing is changed any more.
#include <chrono>
#include <cstdint>

#include "bondd/mlvpn/core/handshake.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/reader.h"
#include "tests/support/mlvpn_peer.h"

namespace {

using namespace bondd::mlvpn;
using namespace bondd::mlvpn::test;
using bondd::test::FuzzReader;
using std::chrono::milliseconds;
using std::chrono::seconds;

const Endpoint kServer = endpoint("203.0.113.10", 1194), kClient = endpoint("198.51.100.2", 40001);
constexpr std::size_t kNoiseAt = 2 + kAnnouncementSize + kProofSize;  // in both texts

void check_parsers(std::span<const std::uint8_t> text) {
  for (const char* word : {"AU", "OK"}) {
    const auto said = parse_handshake(text, word);
    if (!said || !said->announcement) continue;
    const auto again = render_handshake(word, said->announcement, true, said->proof, said->noise);
    FUZZ_CHECK(again.size <= kMaxHandshake);
    const auto parsed = parse_handshake(again.span(), word);
    FUZZ_CHECK(parsed && parsed->announcement == said->announcement);
    FUZZ_CHECK(parsed->noise.size() == said->noise.size());
  }
  if (const auto hello = parse_hello(text)) {
    FUZZ_CHECK(parse_hello(render_hello(*hello)) == hello);
    FUZZ_CHECK(parse_reply(render_reply(*hello)).has_value());
  }
}

// Changes a handshake's text as the input says; true when the message of Noise is another one now.
bool mangle(FuzzReader& in, Bytes& datagram) {
  auto packet = decode(datagram);
  if (!packet || packet->type > kAuthOk) return false;
  bool other = false;
  for (int n = in.byte() % 3; n > 0 && !packet->text.empty(); --n) {
    const std::size_t at = in.byte() % packet->text.size();
    const std::uint8_t change = in.byte();
    packet->text[at] ^= change;
    other = other || (at >= kNoiseAt && change != 0);
  }
  if (in.byte() % 8 == 7) packet->text.resize(in.byte());
  other = other || packet->text.size() < kNoiseAt + kReplySize;
  packet->flow += in.byte() % 4 == 3 ? 1U : 0U;
  datagram = encode(*packet);
  return other;
}

void carry(FuzzReader& in, Rig& from, Rig& to, const Endpoint& address, bool mangled) {
  from.collect();
  for (const Sent& s : std::exchange(from.sent, {})) {
    Bytes datagram = s.bytes;
    const Protection before = to.stats(0).protection;
    const bool other = mangled && mangle(in, datagram);
    to.receive(0, address, datagram);
    if (other) FUZZ_CHECK(to.stats(0).protection != Protection::kSession || before == Protection::kSession);
    if (mangled && in.byte() % 8 == 7) to.receive(0, address, datagram);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check_parsers({data, size});
  FuzzReader in(data, size);
  Rig client(engine_config(Role::kClient, 1), with_sessions());
  Rig server(engine_config(Role::kServer, 2), with_sessions());
  client.engine->add_link(client.now, {.name = "ovh", .remote = kServer});
  server.engine->add_link(server.now, {.name = "ovh"});
  const auto turn = [&](bool mangled) {
    carry(in, client, server, kClient, mangled);
    carry(in, server, client, kServer, mangled);
    const auto step = milliseconds(mangled ? 1 + in.byte() * 4 : 50);
    client.run_for(step);
    server.run_for(step);
  };
  for (int i = 0; i < 60 && !in.done(); ++i) turn(true);
  for (int i = 0; i < 300; ++i) turn(false);
  for (Rig* rig : {&client, &server}) FUZZ_CHECK(rig->state(0) == LinkState::kUp);
  return 0;
}
