// A whole engine against a peer that knows the password and does anything, strangers
// that do not, a device, failing paths, and time. The input is a script of that.
//
// Holds always: no datagram is delivered that the peer did not send as DATA, nothing is
// held back for ever, no buffer is lost, and what leaves can be read by the tests' own
// implementation of the wire.
#include <chrono>
#include <cstdint>
#include <set>
#include <string>

#include "tests/fuzz/check.h"
#include "tests/fuzz/reader.h"
#include "tests/support/mlvpn_peer.h"

namespace {

using namespace bondd::mlvpn;
using namespace bondd::mlvpn::test;
using bondd::test::FuzzReader;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMaxSteps = 300;

EngineConfig make_config(FuzzReader& in) {
  EngineConfig config = engine_config(in.flag() ? Role::kClient : Role::kServer);
  const std::uint8_t flags = in.byte();
  config.clear_data = (flags & 1) != 0;
  config.reorder = (flags & 2) == 0;
  config.device = (flags & 4) != 0 ? DeviceKind::kTap : DeviceKind::kTun;
  config.announce = (flags & 8) == 0;
  config.pool_buffers = (flags & 16) != 0 ? 64 : 1024;
  config.reorder_packets = (flags & 32) != 0 ? 8 : 256;
  return config;
}

class Play {
 public:
  Play(const std::uint8_t* data, std::size_t size)
      : in_(data, size), config_(make_config(in_)), rig_(config_) {
    add_link();
    add_link();
  }

  void run() {
    for (int step = 0; step < kMaxSteps && !in_.done(); ++step) one_step();
    finish();
  }

 private:
  void one_step() {
    switch (in_.byte() % 12) {
      case 0:
        receive([&] { return in_.bytes(in_.byte() * 6U); });
        break;
      case 1:
      case 2:
      case 3:
      case 4:
        receive([&] { return sealed(); });
        break;
      case 5:
        receive([&] { return std::vector<Bytes>{sealed(), sealed(), sealed()}; });
        break;
      case 6:
        rig_.run_for(milliseconds(in_.byte() * 4));
        break;
      case 7:
        send_from_tun();
        break;
      case 8:
        change_path(some_link());
        break;
      case 9:
        change_links();
        break;
      case 10:
        peer_ = PeerFlowState{in_.number<std::uint32_t>(), in_.number<std::uint64_t>()};
        break;
      default:
        receive([&] { return mangled(); });
        break;
    }
    for (const LinkStats& link : rig_.engine->link_stats(rig_.now)) FUZZ_CHECK(!link.name.empty());
    check_delivered();
  }

  // In this order, so that an input means the same to every compiler.
  void receive(const auto& make) {
    const LinkId link = some_link();
    const Endpoint from = somebody();
    rig_.receive(link, from, make());
  }

  void add_link() {
    LinkConfig link{.name = "link" + std::to_string(links_.size())};
    if (config_.role == Role::kClient) link.remote = endpoint("203.0.113.10", 1194);
    link.upload.bits_per_second = in_.byte() * 100'000U;
    link.fallback_only = in_.byte() == 255;
    link.loss_tolerance = in_.flag() ? 100 : 25;
    if (const auto id = rig_.engine->add_link(rig_.now, link)) links_.push_back(*id);
  }

  LinkId some_link() { return links_.empty() ? LinkId{0} : links_[in_.byte() % links_.size()]; }

  Endpoint somebody() {
    return endpoint(in_.flag() ? "203.0.113.10" : "198.51.100." + std::to_string(in_.byte() % 4), 1194);
  }

  // A packet under the right key, its fields near the sensible or far from it.
  Bytes sealed() {
    PeerPacket packet;
    packet.type = in_.byte() % 12;
    if (packet.type == 11) packet.type = in_.byte() % 64;
    packet.version = in_.flag() ? 1 : in_.byte() % 16;
    packet.reorder = in_.byte() != 0;
    packet.timestamp = in_.number<std::uint16_t>();
    packet.timestamp_reply = in_.flag() ? std::uint16_t{0xffff} : in_.number<std::uint16_t>();
    packet.flow = peer_.flow;
    packet.seq = peer_.seq += in_.byte() % 8 == 7 ? in_.number<std::uint16_t>() : 1U;
    data_seq_ += static_cast<std::uint64_t>(static_cast<std::int8_t>(in_.byte())) / 8;
    packet.data_seq = data_seq_;
    packet.text = in_.bytes(in_.byte());
    Bytes datagram = encode(packet, config_.clear_data);
    if (packet.type == kData) allowed_.insert(packet.text);
    previous_ = datagram;
    return datagram;
  }

  // The newest packet with some bytes changed, or as it was: a replay.
  Bytes mangled() {
    Bytes datagram = previous_;
    for (int n = in_.byte() % 3; n > 0 && !datagram.empty(); --n) {
      datagram[in_.number<std::uint16_t>() % datagram.size()] ^= in_.byte();
    }
    return datagram;
  }

  void send_from_tun() {
    if (rig_.engine->packet_budget() == 0 || rig_.engine->pool().free_buffers() == 0) return;
    rig_.from_tun(in_.exactly(1 + in_.number<std::uint16_t>() % kMaxPayload));
  }

  void change_path(LinkId link) {
    switch (in_.byte() % 3) {
      case 0:
        rig_.engine->path_blocked(rig_.now, link);
        break;
      case 1:
        rig_.engine->path_writable(rig_.now, link);
        break;
      default:
        rig_.engine->path_failed(rig_.now, link, "Network is unreachable");
        break;
    }
    rig_.collect();
  }

  void change_links() {
    const std::uint8_t what = in_.byte() % 4;
    if (what == 0) add_link();
    if (what == 1 && links_.size() > 1) {
      rig_.engine->remove_link(rig_.now, links_.back());
      links_.pop_back();
    }
    const LinkId link = what >= 2 ? some_link() : LinkId{0};
    if (what == 2) rig_.engine->set_remote(rig_.now, link, somebody());
    if (what == 3) rig_.engine->update_link(rig_.now, link, {.name = "renamed", .fallback_only = in_.flag()});
    rig_.collect();
  }

  void check_delivered() {
    // In clear mode a datagram may be changed on the way: that is what clear means.
    for (const Bytes& packet : rig_.delivered) FUZZ_CHECK(config_.clear_data || allowed_.contains(packet));
    rig_.delivered.clear();
    rig_.take_sent();  // throws if something is not readable
  }

  void finish() {
    rig_.run_for(seconds(5));
    check_delivered();
    FUZZ_CHECK(rig_.engine->stats().reorder_held == 0);
    for (const LinkId link : links_) rig_.engine->path_writable(rig_.now, link);
    rig_.engine->shutdown(rig_.now);
    rig_.collect();
    check_delivered();
  }

  FuzzReader in_;
  EngineConfig config_;
  Rig rig_;
  std::vector<LinkId> links_;
  PeerFlowState peer_;
  std::uint64_t data_seq_ = 0;
  Bytes previous_{0};
  std::set<Bytes> allowed_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Play(data, size).run();
  return 0;
}
