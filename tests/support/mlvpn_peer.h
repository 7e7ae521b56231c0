// A second implementation of the MLVPN wire, written from the protocol's text
// alone and built on libsodium's whole secretbox, so that a mistake in bondd's
// own codec or cipher does not agree with itself. And a rig that holds one
// engine by the hand: bytes and time in, bytes out.
#pragma once

#include <sodium.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bondd/mlvpn/core/engine.h"

namespace bondd::mlvpn::test {

using Bytes = std::vector<std::uint8_t>;

inline constexpr const char* kPassword = "test-Pa55word!";

enum PeerType { kAuth = 0, kAuthOk = 1, kKeepalive = 2, kData = 3, kDisconnect = 4 };

struct PeerPacket {
  int type = kKeepalive;
  int version = 1;
  bool reorder = true;
  std::uint16_t timestamp = 0, timestamp_reply = 0xffff;
  std::uint32_t flow = 0;
  std::uint64_t seq = 0, data_seq = 0;
  Bytes text{};
};

// As upstream writes and reads it. `clear`: the body of DATA is not encrypted.
Bytes encode(const PeerPacket& packet, bool clear = false, const std::string& password = kPassword);
std::optional<PeerPacket> decode(const Bytes& datagram, bool clear = false,
                                 const std::string& password = kPassword);

// One link of an upstream process: a flow and its counters.
struct PeerFlowState {
  std::uint32_t flow = 0x01020304;
  std::uint64_t seq = 0;
  Bytes make(int type, const Bytes& text = {}, std::uint64_t data_seq = 0, bool clear = false,
             std::uint16_t echo = 0xffff);
};

Bytes text(const std::string& s);
Endpoint endpoint(const std::string& ip, std::uint16_t port);

struct Sent {
  LinkId link = 0, path = 0;
  Endpoint to;
  Bytes bytes;
};

class Rig {
 public:
  explicit Rig(EngineConfig config, const std::string& password = kPassword);
  Rig(EngineConfig config, Secrets secrets);

  TimePoint now{std::chrono::hours(1)};
  std::unique_ptr<Engine> engine;
  std::vector<Sent> sent;        // all that the engine sent, by time
  std::vector<Bytes> delivered;  // all that it gave to tun
  std::vector<LinkEvent> events;

  void receive(LinkId path, const Endpoint& from, const Bytes& datagram) {
    receive(path, from, std::vector<Bytes>{datagram});
  }
  void receive(LinkId path, const Endpoint& from, const std::vector<Bytes>& datagrams);
  void from_tun(const Bytes& packet);
  // Takes what the engine has to say, without time passing.
  void collect();
  // Lets time pass, with every deadline kept.
  void run_for(Duration duration);
  // The packets sent since the last call, as the independent peer reads them.
  std::vector<PeerPacket> take_sent(std::optional<LinkId> link = {});
  [[nodiscard]] LinkState state(LinkId link);
  [[nodiscard]] LinkStats stats(LinkId link);

  bool clear = false;
};

EngineConfig engine_config(Role role, std::uint8_t seed = 1);

// What the original program makes of a password; and what a bondd does, but quickly.
Secrets password_only(const std::string& password = kPassword);
Secrets with_sessions(const std::string& password = kPassword);

}  // namespace bondd::mlvpn::test
