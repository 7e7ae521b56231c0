// Which packet leaves next, by which link and when, towards a peer that reports
// nothing (upstream). Between two bondd, Sender does this and more.
//
//                     flow's home
//   tun --> queue by flows of a group --> stage of a link --pacer--> wire
//                                    (more links than one)
//
// What there is to go by are the timestamp echoes: one says that everything sent
// up to a round trip ago has left the line, and how long it queued there. So:
//
// * Each link is paced at what it delivers (Line), an echo being taken for
//   the confirmation of all that was sent a round trip before it. A given rate is
//   an upper bound.
// * How fast a line is that carries little tells a train of padding: how much later than
//   on their own its last one, and what is sent soon after it, arrive.
// * Links that are alike (delay, rate, little jitter, no loss) make a group and share
//   each flow: a packet goes where it arrives first, so that packets arrive nearly in
//   order. A slow link gets a packet only when the faster ones cannot carry all that
//   waits before that packet would be there.
// * A link that is like no other is a group of its own, and a flow stays in the group
//   where it is at home: upstream's reordering cannot hide the difference, and it is off
//   unless configured. New flows go where they arrive first; of several that fill a
//   group, one moves to a group with more room. Such packets are marked as not to be
//   reordered (the wire's bit, which upstream heeds): they are in order as they are,
//   and its buffer would only hold them up.
// * With a weight given for every link that can be used, their bytes follow the
//   weights instead, in bursts that last about as long on every link.
//
// Links are taken in tiers: healthy ones first, fallback_only links only when
// none of these is left, lossy and slow ones only after that, silent ones last:
// as long as any session is up, there is a link.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bondd/mlvpn/core/flow_queue.h"
#include "bondd/mlvpn/core/packet.h"
#include "bondd/mlvpn/core/types.h"
#include "bondd/mlvpn/line/line.h"

namespace bondd::mlvpn {

class Scheduler {
 public:
  enum class Tier : std::uint8_t { kNormal, kFallback, kSpared, kSilent, kUnusable };

  // A packet and its place in the endpoint's count of DATA.
  struct Pick {
    LinkId link = 0;
    PacketRef packet;
    std::uint64_t data_seq = 0;
    bool reorder = true;  // its flow is shared between links
  };

  // `most_queued`: packets that may wait for a group. Drops go back to `pool`.
  Scheduler(DeviceKind device, std::size_t most_queued, BufferPool& pool);

  // The link's standing. `weight` 0: by capacity. `rate` 0: not known. Call when
  // something changed.
  void set(TimePoint now, LinkId link, Tier tier, double weight, Rate rate);
  // Percent of what the peer sent on the link that got lost: a hint for our direction.
  void set_loss(LinkId link, double percent);
  void remove(LinkId link);
  void set_blocked(LinkId link, bool blocked);
  // A timestamp echo came over the link: its round trip.
  void on_echo(TimePoint now, LinkId link, Duration rtt);

  // A link whose rate a train would tell now: not known well, and little is sent on it. The
  // first is short: on a slow line it takes long, and is enough.
  struct TrainWish {
    LinkId link = 0;
    bool first = false;
  };
  [[nodiscard]] std::optional<TrainWish> train_wanted(TimePoint now) const;
  // One of `bytes` left at once.
  void train_sent(TimePoint now, LinkId link, std::size_t bytes);

  // A packet from tun. Takes it.
  void enqueue(TimePoint now, const PacketRef& packet);
  // The packet that is to leave now, nothing when none may. The same until it is
  // taken; `bytes` is what it costs on the wire.
  std::optional<Pick> next(TimePoint now);
  void take(TimePoint now, std::size_t bytes);
  // When `next` may yield something again though it did not now; empty when only
  // an event (a session, a writable socket, a packet) can change that.
  [[nodiscard]] std::optional<TimePoint> next_time(TimePoint now) const;

  // Whether any link has a session, so that packets are worth keeping.
  [[nodiscard]] bool usable() const { return best_tier() != Tier::kUnusable; }
  // Packets that wait.
  [[nodiscard]] std::size_t queued() const;
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  // For a person: why the link carries what it carries.
  [[nodiscard]] std::string explain(LinkId link, const std::function<std::string(LinkId)>& name) const;
  // The round trip of the flows of the busiest group.
  [[nodiscard]] Duration trip() const;
  // What the link is believed to carry; 0 before anything is known.
  [[nodiscard]] Rate capacity(LinkId link) const;
  // Takes one packet that waits, staged ones first (for another sender).
  std::optional<PacketRef> surrender();

 private:
  static constexpr double kLeastFlow = 8000;  // bytes between two looks, below which a flow does not count
  static constexpr double kMuchMore = 1.5;    // times the rate: worth that the only flow moves
  static constexpr double kWorst = 4;         // times the jitter: what nearly no packet exceeds
  static constexpr double kFlightMs = 15;     // more than the usual round trips
  static constexpr double kCalmBytes = 4000;  // on the way, at most, where no queue can be
  static constexpr double kTypical = 1500;    // bytes of a packet that is still to come
  static constexpr Duration kLook = std::chrono::milliseconds(250);  // links and flows are compared so often

  struct Confirmed {       // what an echo said
    TimePoint at, sent;    // when it came, and when that packet had left
    double delivered = 0;  // bytes, by then
  };
  struct Mark {  // what was sent by then
    TimePoint sent;
    double total = 0;  // bytes sent so far
    Confirmed before;  // a while before this was sent: the rate is measured from there
    bool idle = false;
    double in_flight = 0;  // with what was sent until then
  };
  struct Staged {
    PacketRef packet;
    std::uint64_t data_seq = 0;
    bool reorder = true;
  };
  struct Calm {  // round trips while hardly anything was on the way
    unsigned samples = 0;
    double least_ms = 0, mean_ms = 0, last_ms = 0, jitter_ms = 0;
  };
  // What padding that leaves at once tells: an echo that is `late` says that the line took
  // no less, one that comes `after` so long besides, that it took no more.
  struct Train {
    TimePoint sent;
    double bytes = 0;      // 0: none is under way
    double beside = 0;     // bytes of others that left since
    double least_ms = 0;   // that it took
    double latest_ms = 0;  // the latest echo, by the least round trip
    std::optional<double> most_ms;
    unsigned tries = 0;
    // Bytes/s, of all trains so far; 0: nothing was told.
    double rate_at_least = 0, rate_at_most = 0;
  };
  struct Lane {
    LinkId id = 0;
    LinkId leader = 0;  // of its group; itself when it is alone or the leader
    bool blocked = false;
    bool was_full = false;  // the window, not the pacer, held it back
    Tier tier = Tier::kUnusable;
    double weight = 0;
    double loss = 0;  // percent
    Rate bound;
    Line control;
    Calm calm;
    Train train;
    std::deque<Mark> marks;
    std::deque<std::pair<TimePoint, double>> flight;  // when, and the total then
    double total = 0;                                 // bytes sent
    double delivered = 0;                             // of these, confirmed by echoes
    double landed = 0;                                // not on the way any more
    Confirmed newest, step, older;                    // the last two at least kStep apart
    TimePoint busy_since;
    TimePoint loaded_at;  // when more was on the way than a packet or two
    TimePoint next_send;
    FlowQueue queue;  // of the group that it leads
    std::deque<Staged> staged;
    double staged_bytes = 0;
    double vtime = 0;
    double recent = 0;  // bytes sent, halved now and then
    int crowded = 0;    // in a row, how often its group was found with a standing queue

    [[nodiscard]] double in_flight() const { return total - landed; }
  };
  // Where a flow's packets go.
  struct Home {
    LinkId link = 0;
    bool chosen = false;
    bool large = false;    // packets came that are
    bool judged = false;   // as bulk
    unsigned packets = 0;  // since it was chosen
    double bytes = 0;      // since the last look
    TimePoint last, moved;
  };

  [[nodiscard]] Lane* find(LinkId link) const;
  [[nodiscard]] Tier best_tier() const;
  [[nodiscard]] bool by_weight(Tier tier) const;
  [[nodiscard]] bool wobbles(const Lane& lane) const;
  [[nodiscard]] double loaded_trip_ms(const Lane& lane) const;
  [[nodiscard]] double usual_ms(const Lane& lane, double jitters) const;
  [[nodiscard]] double pace(const Lane& lane) const;
  [[nodiscard]] double window(const Lane& lane) const;
  [[nodiscard]] double rate_of(const Lane& lane) const;
  [[nodiscard]] bool window_open(const Lane& lane) const;
  [[nodiscard]] bool ready(const Lane& lane, TimePoint now) const;
  [[nodiscard]] double arrival_ms(const Lane& lane, TimePoint now) const;

  void on_calm_echo(Lane& lane, TimePoint now, double rtt) const;
  void on_train_echo(Lane& lane, TimePoint now, double rtt) const;
  void settle_train(Lane& lane, TimePoint now) const;
  static void train_passed(Lane& lane, double bytes);
  [[nodiscard]] std::optional<double> known_rate(const Lane& lane) const;
  [[nodiscard]] bool known_well(const Lane& lane) const;
  [[nodiscard]] bool alike(const Lane& a, const Lane& b) const;
  void regroup(TimePoint now);
  void balance(TimePoint now);
  void set_limits();
  [[nodiscard]] double group_rate(const Lane& leader) const;
  [[nodiscard]] double flow_rate(const Lane& leader) const;
  [[nodiscard]] bool outgrown(const Lane& from, const Lane& to, double bytes) const;
  [[nodiscard]] std::size_t group_size(const Lane& leader) const;
  LinkId choose_home(TimePoint now, const Home& home, std::size_t size) const;
  void queue_up(TimePoint now, const PacketRef& packet, FlowBucket bucket);
  void drain(TimePoint now, Lane& lane);

  Lane* soonest(const Lane& leader, TimePoint now) const;
  std::optional<Pick> next_by_weight(Tier tier, TimePoint now);
  std::optional<Pick> next_by_arrival(Tier tier, TimePoint now);
  std::optional<Pick> next_of_group(Lane& leader, TimePoint now);
  std::optional<Pick> from_stage(Lane& lane);
  std::optional<Staged> number(Lane& leader);
  void restage(Lane& lane);
  void expire(Lane& lane, TimePoint now) const;

  DeviceKind device_;
  std::size_t most_queued_;
  BufferPool& pool_;
  std::vector<Home> homes_;
  std::deque<Staged> returned_;  // numbered, their link is gone: next of all
  std::array<std::unique_ptr<Lane>, kMaxLinks> lanes_;
  std::size_t count_ = 0;
  std::size_t staged_packets_ = 0;
  std::uint64_t data_seq_ = 0;
  std::uint64_t dropped_ = 0;
  std::optional<Pick> pick_;
  TimePoint next_look_;
  double vclock_ = 0;  // virtual time of the last choice by weight
  double recent_total_ = 0;
  LinkId last_link_ = 0;
  TimePoint last_at_;
};

}  // namespace bondd::mlvpn
