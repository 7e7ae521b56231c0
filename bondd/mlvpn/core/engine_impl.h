// The inside of Engine, spread over engine.cc (links, time, facts),
// engine_rx.cc (from UDP to tun), engine_tx.cc (from tun to UDP) and engine_seal.cc (between the two).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "bondd/mlvpn/core/bare_ack.h"
#include "bondd/mlvpn/core/engine.h"
#include "bondd/mlvpn/core/feedback.h"
#include "bondd/mlvpn/core/flow_order.h"
#include "bondd/mlvpn/core/key_ring.h"
#include "bondd/mlvpn/core/link.h"
#include "bondd/mlvpn/core/play_out.h"
#include "bondd/mlvpn/core/reorder_buffer.h"
#include "bondd/mlvpn/core/ring.h"
#include "bondd/mlvpn/core/scheduler.h"
#include "bondd/mlvpn/core/sender.h"
#include "bondd/mlvpn/core/wire.h"

namespace bondd::mlvpn {

inline constexpr std::size_t kBatch = 64;             // packets handled at once
inline constexpr std::size_t kMaxBurstBytes = 65000;  // of one Transmit
inline constexpr std::size_t kControlReserve = 64;    // pool buffers that DATA leaves alone

struct Engine::Impl {
  Impl(TimePoint now, const EngineConfig& configuration, Secrets secrets);

  // A link and what the engine remembers about it.
  struct Place {
    std::unique_ptr<Link> link;
    unsigned seen_generation = 0;
    unsigned epoch = 0;  // the peer's run (see `epoch`) that its DATA belongs to
    bool blocked = false;
    // What the scheduler was told last.
    Scheduler::Tier tier = Scheduler::Tier::kUnusable;
    double weight = 0;
    Rate rate;
    PlayOut play_out;  // of what a bondd peer sends over it
  };

  // One received datagram on its way through the batch.
  struct Inbound {
    Header header;
    Link* link = nullptr;
    LinkId path = 0;
    const Endpoint* from = nullptr;
    std::uint8_t* datagram = nullptr;
    std::uint32_t size = 0;
    FlowTable::Place place = FlowTable::Place::kUnknown;
    std::uint32_t job = 0;         // index of its BoxJob, or kClear
    std::uint32_t receive_id = 0;  // that chose the session's keys; 0: it came under the password's
  };
  static constexpr std::uint32_t kClear = ~std::uint32_t{0};

  // engine.cc
  Link* find(LinkId id) { return places[id].link.get(); }
  Surroundings surroundings(LinkId of) const;
  void sync(TimePoint now);  // tells the scheduler what changed
  void sync_link(TimePoint now, LinkId id);
  void follow_flow(TimePoint now, Place& place);
  void update_spread_hint();
  void probe_witnesses(TimePoint now);

  // engine_rx.cc
  void receive_batch(TimePoint now);
  bool admit(LinkId path, const Endpoint& from, std::uint8_t* data, std::size_t size);
  bool admit_session(TimePoint now, Inbound in, const SessionFront& front);
  void count_unopened(TimePoint now, const Inbound& in);
  void dispatch(TimePoint now, Inbound& in, bool opened);
  void deliver_data(TimePoint now, const Inbound& in);
  void deliver_ack(TimePoint now, const PacketRef& packet, const BareAck& ack);
  void push_ready(const PacketRef& packet);
  Link* attribute(LinkId path, std::uint32_t flow_id);
  [[nodiscard]] bool is_own_flow(std::uint32_t flow_id) const;
  [[nodiscard]] bool is_known_elsewhere(const Link& link, std::uint32_t flow_id) const;

  // engine_seal.cc
  enum class Layout : std::uint8_t { kPassword, kClear, kSession, kSessionClear };
  static constexpr bool in_session(Layout layout) {
    return layout == Layout::kSession || layout == Layout::kSessionClear;
  }
  // Bytes of a datagram before its text.
  static constexpr std::size_t front_of(Layout layout) {
    return layout == Layout::kClear ? kHeaderSize : kOverhead;
  }
  [[nodiscard]] Layout layout_of(Link& link, PacketType type) const;
  Header header_for(TimePoint now, Link& link, PacketType type, std::size_t text, Layout layout);
  static PacketRef frame(const Header& header, const PacketRef& text, Layout layout, BoxJob& job);
  void seal(Link& link, Layout layout, std::span<BoxJob> boxes, std::span<const PacketRef> datagrams);

  // engine_tx.cc
  bool transmit_parting(Transmit& out);
  bool transmit_control(TimePoint now, Transmit& out);
  bool transmit_data(TimePoint now, Transmit& out);
  bool transmit_train(TimePoint now, Transmit& out);
  std::optional<PacketRef> build_control(TimePoint now, Link& link, const ControlPacket& packet);

  // engine_notice.cc
  bool transmit_notice(TimePoint now, Transmit& out);
  void note_notice(TimePoint now, const Inbound& in);
  void hand_on_notice(TimePoint now);

  // engine_brain.cc
  void make_brain();
  void sync_brain(TimePoint now, LinkId id);
  void switch_brain(TimePoint now);
  void reset_brain(TimePoint now);
  void note_arrival(TimePoint now, const Inbound& in);
  bool deliver_by_flow(TimePoint now, const Inbound& in, const PacketRef& packet);
  bool transmit_report(TimePoint now, Transmit& out);
  bool transmit_brain(TimePoint now, Transmit& out);
  std::optional<PacketRef> seal_extension(TimePoint now, Link& link, PacketType type,
                                          std::span<const std::uint8_t> body);
  [[nodiscard]] std::optional<TimePoint> brain_deadline() const;
  void brain_timeout(TimePoint now);
  void fill_brain(LinkStats& stats) const;

  EngineConfig config;
  LinkContext context;
  KeyRing keys;
  BufferPool pool;
  Ring<PacketRef> ready;  // for tun
  ReorderBuffer reorder;
  Scheduler scheduler;
  NewestAcks newest_acks;  // of an upstream peer's
  AckFilter peer_acks;     // and thinned, as a bondd peer does before it sends them
  std::unique_ptr<Sender> sender;
  std::unique_ptr<FlowOrder> order;
  Reporter reporter;
  bool brain = false;  // the peer is a bondd: sender and order are in charge
  std::vector<std::uint8_t> report_body;
  std::vector<LinkId> report_links;  // that the report still has to leave by
  unsigned report_turn = 0;
  std::uint64_t last_sealed_seq = 0;
  std::array<Place, 256> places;
  std::vector<LinkId> ids;  // of the links there are, in order of addition
  LinkId next_id = 0;
  std::uint64_t seq_base;  // microseconds since 1970 << 8, at `started`
  TimePoint started;
  TimePoint last_now;

  // The peer's run: changes when it restarts, and the reordering with it.
  unsigned epoch = 0;
  TimePoint epoch_since;
  std::optional<std::uint64_t> peer_session;
  TimePoint next_key_offer, next_hint;

  // What our daemon tells the peer's, and when that and the next of the peer's are due.
  struct Notice {
    std::string text;
    TimePoint next{};
    Duration pause{};                 // from one transmission of the text to the next; doubles each time
    std::optional<std::string> told;  // by the peer's, not handed on yet
    LinkId told_on = 0;
    TimePoint next_event{};
  };
  Notice notice;

  // DISCONNECTs of removed links, sealed.
  struct Parting {
    LinkId link = 0;
    LinkId path = 0;
    Endpoint to;
    PacketRef packet;
  };
  Ring<Parting> parting{kMaxLinks};

  std::array<PacketRef, kBatch> burst;
  std::array<BoxJob, kBatch> jobs;
  std::array<SecretBox*, kBatch> openers{};  // of received jobs; null: the password's keys
  std::array<Inbound, kBatch> inbound;
  std::size_t inbound_count = 0;
  std::size_t job_count = 0;
  EngineStats counters;
};

}  // namespace bondd::mlvpn
