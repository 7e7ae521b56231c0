// The sending half of the brain, towards a bondd peer: which packet leaves next, on
// which link, and what becomes of those that get lost.
//
//   tun -> FlowQueue -> stage of a link -> pacer -> wire -> outstanding until reported
//             ^ turns       ^ earliest arrival      |            | lost, or its link silent
//             |             '---- repairs ----------<------------'
//
// * A packet is given to the link on which it will arrive first, the queue before it
//   counted. When a slow link can take a packet, the fast link first gets as many as it
//   will carry meanwhile, so that packets arrive nearly in order; without that many the
//   slow link is left out.
// * A link's packets are kept until reported. What is missing is sent again, under the
//   same data_seq, on the link that brings it soonest.
// * While nothing waits and a line is lossy or jitters, packets also go over a second
//   link that has room: the first copy counts, and no repair has to be waited for.
// * A link that owes reports is silent: it carries only probes until it answers, and
//   what was on it goes over the others at once.
//
// No clock, no system calls, no allocation per packet once warm. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bondd/mlvpn/core/ack_filter.h"
#include "bondd/mlvpn/core/feedback.h"
#include "bondd/mlvpn/core/flow_order.h"
#include "bondd/mlvpn/core/flow_queue.h"
#include "bondd/mlvpn/line/line.h"

namespace bondd::mlvpn {

class BrainTrace;

struct SenderConfig {
  DeviceKind device = DeviceKind::kTun;
  bool repair = true;
  OfficeSide office = OfficeSide::kNone;  // of what is sent
  std::uint64_t hash_seed = 0;
  std::size_t most_outstanding = 6000;      // packets kept for repair, all links together
  std::size_t most_queued_bytes = 6 << 20;  // of the ingress queue
  const Tuning* tuning = &kTuning;          // not owned
  BrainTrace* trace = nullptr;              // not owned; null in the product
};

// What is to be sent now. The bytes stay the sender's: seal them into another buffer,
// then report the sequence number by sent().
struct Departure {
  enum class Kind : std::uint8_t { kData, kCopy, kProbe } kind = Kind::kData;
  LinkId link = 0;
  PacketRef packet;            // empty for a probe
  std::uint64_t data_seq = 0;  // as FlowOrder reads it
  std::size_t length = 0;      // of a probe: bytes of its datagram; 0: as short as can be
};

// One link as the brain sees it.
struct SenderLinkView {
  LinkId link = 0;
  std::optional<double> rtt_ms, queue_ms;
  std::optional<double> capacity;      // bytes/s, once a busy line has shown it
  std::optional<double> loss_percent;  // of what we sent lately, once enough was reported
  std::uint64_t repaired = 0;          // packets that were lost here and sent again
  std::optional<std::size_t>
      longest;  // datagram that passes, in bytes of UDP payload, where longer ones do not
};

class Sender {
 public:
  Sender(const SenderConfig& config, BufferPool& pool);
  ~Sender();
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // `flow_id` names the link in the peer's reports. `bound`: bytes/s, 0 for none.
  // `fallback`: used only when no other link can be.
  void add_link(LinkId link, std::uint32_t flow_id, double bound, bool fallback);
  void update_link(LinkId link, double bound, bool fallback);
  // The link's packets have another flow id from now on.
  void set_flow(LinkId link, std::uint32_t flow_id);
  void remove_link(TimePoint now, LinkId link);
  // A link that is not usable carries nothing; what was on it goes over the others.
  void set_usable(TimePoint now, LinkId link, bool usable);
  // The link's socket takes no more (or does again): nothing is chosen for it.
  void set_blocked(LinkId link, bool blocked);
  // A round trip measured otherwise (timestamps of the wire), before any report.
  void seed_rtt(LinkId link, double ms);
  // The peer's receiver starts anew: numbers of flows skip some, all that was
  // outstanding is forgotten. What waits stays.
  void reset_session(TimePoint now);

  // A packet from tun; the sender owns it from now on.
  void enqueue(TimePoint now, const PacketRef& packet);

  // The next packet to send. Each one is to be followed by sent(), or yields again at the
  // next call. One whose link can no longer be used leaves by another.
  std::optional<Departure> next(TimePoint now);
  // The departure just taken went out as `seq` with `bytes` of UDP payload.
  void sent(TimePoint now, std::uint64_t seq, std::size_t bytes);
  // Any other packet left on `link` (keepalives, reports): its number counts too.
  void sent_control(TimePoint now, LinkId link, std::uint64_t seq, std::size_t bytes);

  // Whether a report of `highest` says more about `link` than those before it.
  [[nodiscard]] bool advances(LinkId link, std::uint64_t highest) const;
  // A report of the peer, authenticated. Numbers never sent are ignored.
  void handle_report(TimePoint now, const Report& report);
  void handle_timeout(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> next_timeout(TimePoint now) const;

  // The link on which a small packet arrives soonest, and the next best; empty when none. One for emergencies
  // (`fallback`) only while no other carries.
  [[nodiscard]] std::optional<LinkId> best_link(TimePoint now,
                                                std::optional<LinkId> except = std::nullopt) const;
  // How long the peer should let our packets wait behind a hole.
  [[nodiscard]] Duration patience() const;
  // How often the peer's data should be reported.
  [[nodiscard]] Duration report_interval() const;

  [[nodiscard]] std::vector<SenderLinkView> view() const;
  // Why `link` carries what it carries, in words.
  [[nodiscard]] std::string explain(LinkId link, const std::function<std::string(LinkId)>& name) const;
  [[nodiscard]] std::size_t queued() const { return queue_.packets() + staged_packets_; }
  [[nodiscard]] std::uint64_t queue_drops() const { return queue_.dropped(); }

 private:
  struct Data {  // one packet of a flow on its way to the peer
    PacketRef packet;
    std::uint64_t data_seq = 0;
    TimePoint first_sent{};
    bool sparse = false;
  };
  struct Outstanding {
    TimePoint sent{};
    std::uint64_t seq = 0;
    std::uint32_t bytes = 0;
    bool open = true;   // neither confirmed nor lost
    bool data = false;  // has a packet to repair
    bool idle = false;
    bool light = false;
    bool rate_valid = false;
    Data payload{};
    double delivered = 0;          // of the link when this was sent
    double in_flight = 0;          // on it then, this one included
    std::uint32_t arrived_us = 0;  // of the newest confirmed packet then
    TimePoint newest_sent{};       // and when that one had been sent
  };
  struct Link;

  Link* find(LinkId link) const;
  Link* find_flow(std::uint32_t flow_id) const;
  bool ready(const Link& link, TimePoint now) const;
  double arrival_ms(const Link& link, TimePoint now, std::size_t bytes, bool behind_staged) const;
  Link* soonest(TimePoint now, std::size_t bytes, bool behind_staged) const;
  std::size_t next_size();
  [[nodiscard]] bool others_carry() const;
  std::optional<Departure> depart(TimePoint now, Link& link, Data data);
  void put_back(LinkId link);
  void release(const PacketRef& packet);
  void plan_copy(TimePoint now, const Link& link, const Departure& departure, bool small);
  std::optional<Departure> next_probe(TimePoint now);
  std::optional<std::size_t> take_size_probe(TimePoint now, Link& link);
  std::optional<Departure> next_repair(TimePoint now);
  std::optional<Departure> next_sparse(TimePoint now);
  std::optional<Departure> next_staged(TimePoint now);
  std::optional<Departure> next_queued(TimePoint now);
  void push(TimePoint now, const PacketRef& packet, FlowBucket bucket);
  Data take_queued();
  void stage(Link& link, Data data);
  void restage(Link& link);
  void handle_link_report(TimePoint now, const Report& report, const LinkReport& entry);
  void confirm(TimePoint now, Link& link, Outstanding& packet);
  void lose(TimePoint now, Link& link, Outstanding& packet, bool by_silence);
  void trim(Link& link);
  void fall_silent(TimePoint now, Link& link);
  void update_queue_limit();
  TimePoint silence_deadline(const Link& link) const;
  TimePoint probe_deadline(const Link& link) const;
  TimePoint refresh_deadline(const Link& link) const;

  SenderConfig config_;
  BufferPool& pool_;
  FlowQueue queue_;
  AckFilter acks_;

  std::vector<std::uint64_t> flow_numbers_;
  std::vector<std::uint16_t> flow_staged_;
  std::vector<std::unique_ptr<Link>> links_;
  std::deque<Data> repairs_;
  std::size_t staged_packets_ = 0;
  std::size_t kept_packets_ = 0;
  std::optional<Departure> departing_, copy_;
  Data departing_data_;
  std::optional<std::int64_t> clock_origin_us_;
  LinkId last_link_ = 0;
  TimePoint last_data_{};
};

}  // namespace bondd::mlvpn
