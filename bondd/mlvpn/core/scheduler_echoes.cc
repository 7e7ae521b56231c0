// What the scheduler learns of each line from timestamp echoes: how long the way is, how
// much it wobbles, what it delivers while it is busy, and by trains of padding while it is not.
#include <algorithm>

#include "bondd/mlvpn/core/scheduler.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr Duration kStep = 10ms;  // the wire counts whole milliseconds: shorter spans say nothing
constexpr double kWobbleMs = 2.5;
constexpr double kBusyMs = 8;  // late by so much is what waited in a queue
constexpr double kUnknownMs = 1e9;
// An upstream peer that has nothing to send echoes once a second, so the window
// counts by time: what is older than a round trip and a little is not on the way.
constexpr double kFlightTrips = 1.2;
constexpr Duration kMarkLife = 2s;  // longer than any round trip that an echo can give
constexpr Duration kEchoHold = 1s;
constexpr Duration kTrainPause = 400ms;  // between two tries
constexpr Duration kTrainLater = 30s;    // and when these told nothing certain
constexpr unsigned kTrainTries = 6;
constexpr Duration kTrainEcho = 1300ms;  // upstream sends something each second
constexpr Duration kTrainOver = 250ms;   // peers that are hardly used send as often
constexpr double kTrainLeastMs = 1;      // the clock tells no less
constexpr double kTrainBeside = 0.25;    // of its bytes may be others', else it tells nothing
constexpr double kUsual = 2;             // times the jitter: of 32 packets the latest

}  // namespace

// A line whose round trips wobble tells of queues where none are, more so the more is sent
// (a packet that is late holds up those behind it), and round trips are all that there is
// to see. Paced by them it never gets the rate that it has. So it takes what comes, up to
// the given rate and a window; the flows' own congestion control does the rest, as over
// that line alone.
bool Scheduler::wobbles(const Lane& lane) const {
  const double jitter = lane.calm.samples > 0 ? lane.calm.jitter_ms : lane.control.jitter_ms();
  return jitter > kWobbleMs;
}

// The round trip that a flow which fills the line will see: where it wobbles, nearly always
// the longest.
double Scheduler::loaded_trip_ms(const Lane& lane) const {
  const double trip = lane.control.rtt_ms();
  return wobbles(lane) ? std::max(trip, lane.calm.mean_ms + kWorst * lane.calm.jitter_ms) : trip;
}

// The round trip of packets that meet no queue, of a line that wobbles with so many times
// its jitter. Before anything is known, none is too long.
double Scheduler::usual_ms(const Lane& lane, double jitters) const {
  if (lane.calm.samples == 0) return kUnknownMs;
  return wobbles(lane) ? lane.calm.mean_ms + jitters * lane.calm.jitter_ms : lane.calm.least_ms;
}

// Forgets what is too old to be on the way any more.
void Scheduler::expire(Lane& lane, TimePoint now) const {
  const double trip = std::max(lane.control.rtt_ms(), lane.control.greatest_rtt_ms());
  const TimePoint landed = now - from_ms(kFlightTrips * trip + kFlightMs);
  for (; !lane.flight.empty() && lane.flight.front().first < landed; lane.flight.pop_front()) {
    lane.landed = std::max(lane.landed, lane.flight.front().second);
  }
  while (!lane.marks.empty() && lane.marks.front().sent < now - kMarkLife) lane.marks.pop_front();
}

void Scheduler::on_echo(TimePoint now, LinkId link, Duration rtt) {
  Lane* const lane = find(link);
  if (lane == nullptr) return;
  const TimePoint sent = now - rtt;
  on_calm_echo(*lane, now, to_ms(rtt));
  if (lane->marks.empty() || lane->marks.front().sent > sent) {
    return;
  }
  Mark newest = lane->marks.front();
  while (!lane->marks.empty() && lane->marks.front().sent <= sent) {
    newest = lane->marks.front();
    lane->marks.pop_front();
  }
  lane->delivered = std::max(lane->delivered, newest.total);
  lane->landed = std::max(lane->landed, lane->delivered);
  RateSample sample;
  sample.now = now;
  sample.sent = newest.sent;
  sample.one_way_ms = sample.rtt_ms = std::max(to_ms(rtt), 0.5);
  sample.delivered = lane->delivered;
  // What was late waited for others: the line was busy, though our queue was empty.
  sample.app_limited =
      newest.idle && (newest.in_flight < kCalmBytes || to_ms(rtt) < usual_ms(*lane, kWorst) + kBusyMs);
  sample.in_flight = newest.in_flight;
  if (newest.before.at != TimePoint{}) {
    const double span = std::max(to_ms(now - newest.before.at), to_ms(newest.sent - newest.before.sent));
    if (span > 5) sample.rate = (lane->delivered - newest.before.delivered) * 1000 / span;
  }
  lane->control.on_sample(sample);
  lane->newest = {now, newest.sent, lane->delivered};
  if (now - lane->step.at >= kStep) {
    lane->older = lane->step;
    lane->step = lane->newest;
  }
}

void Scheduler::on_calm_echo(Lane& lane, TimePoint now, double rtt) const {
  Calm& calm = lane.calm;
  if (lane.train.bytes > 0) {
    on_train_echo(lane, now, rtt);
    settle_train(lane, now);
    return;
  }
  // Which packet's echo it is nobody knows: the peer may have held it for a second.
  if (now - lane.loaded_at < kEchoHold + from_ms(rtt)) return;
  if (calm.samples++ == 0) {
    calm.least_ms = calm.mean_ms = rtt;
  } else {
    const double weight = calm.samples < 8 ? calm.samples : 8;
    calm.jitter_ms += (std::abs(rtt - calm.last_ms) - calm.jitter_ms) / weight;
    calm.mean_ms += (rtt - calm.mean_ms) / weight;
    calm.least_ms = std::min(calm.least_ms, rtt);
  }
  calm.last_ms = rtt;
  RateSample sample;
  sample.now = now;
  sample.sent = now - from_ms(rtt);
  sample.one_way_ms = sample.rtt_ms = std::max(rtt, 0.5);
  sample.delivered = lane.delivered;
  sample.app_limited = sample.light = true;
  sample.in_flight = lane.in_flight();
  lane.control.on_sample(sample);
}

// The peer may have held the echo for a while, and it counts that in: the packet left by so
// much earlier than it seems.
void Scheduler::on_train_echo(Lane& lane, TimePoint now, double rtt) const {
  Train& train = lane.train;
  const double after = to_ms(now - train.sent) - rtt;
  if (after < -kTrainLeastMs) return;  // of a packet before it
  // A line that wobbles may have delayed the echo by as much as ever, or not at all.
  train.least_ms = std::max({train.least_ms, rtt - usual_ms(lane, kUsual), kTrainLeastMs});
  const double late = std::max(rtt - lane.calm.least_ms, kTrainLeastMs);
  train.latest_ms = std::max(train.latest_ms, late);
  const double most = std::max(after, 0.0) + late;
  if (train.beside <= 0) {
    train.most_ms = train.latest_ms;  // nothing else was sent: the latest echo is of its last packet
  } else if (!train.most_ms || most < *train.most_ms || *train.most_ms < train.least_ms) {
    train.most_ms = most;  // an echo of its first packet says nothing: later ones contradict it
  }
}

void Scheduler::settle_train(Lane& lane, TimePoint now) const {
  Train& train = lane.train;
  if (train.bytes <= 0) return;
  const Duration passed = now - train.sent;
  // Had anything of it been behind what was echoed, an echo of that would be here.
  const bool over = train.most_ms && passed > kTrainOver + from_ms(lane.calm.mean_ms + 2 * train.least_ms);
  if (!over && passed < kTrainEcho) return;
  // The only echo may also be of a packet before it.
  const bool told = train.most_ms && (train.beside > 0 || train.tries > 1 || train.least_ms > kTrainLeastMs);
  if (told) {
    const double bytes = (train.bytes + train.beside) * 1000;
    train.rate_at_least = std::max(train.rate_at_least, bytes / (*train.most_ms + kTrainLeastMs / 2));
    const double at_most = bytes / (train.least_ms - kTrainLeastMs / 2);
    train.rate_at_most = train.rate_at_most > 0 ? std::min(train.rate_at_most, at_most) : at_most;
  }
  train.bytes = 0;
}

std::optional<Scheduler::TrainWish> Scheduler::train_wanted(TimePoint now) const {
  if (count_ < 2) return std::nullopt;
  // One at a time: small packets go around it.
  for (std::size_t i = 0; i < count_; ++i) {
    if (lanes_[i]->train.bytes > 0 && now - lanes_[i]->train.sent < kTrainEcho) return std::nullopt;
  }
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = *lanes_[i];
    if (lane.tier >= Tier::kSilent || lane.blocked || lane.in_flight() > kCalmBytes) continue;
    if (!lane.staged.empty() || !find(lane.leader)->queue.empty()) continue;
    if (known_well(lane) || lane.calm.samples < 2) continue;
    const Duration pause = lane.train.tries < kTrainTries ? kTrainPause : kTrainLater;
    if (lane.train.tries == 0 || now - lane.train.sent > pause)
      return TrainWish{lane.id, lane.train.tries == 0};
  }
  return std::nullopt;
}

void Scheduler::train_sent(TimePoint now, LinkId link, std::size_t bytes) {
  Train& train = find(link)->train;
  Train next;
  next.sent = now;
  next.bytes = static_cast<double>(bytes);
  next.tries = train.tries + 1;
  next.rate_at_least = train.rate_at_least;
  next.rate_at_most = train.rate_at_most;
  train = next;
}

// Another packet of so many bytes leaves, maybe behind a train.
void Scheduler::train_passed(Lane& lane, double bytes) {
  if (lane.train.bytes <= 0) return;
  lane.train.beside += bytes;
  if (lane.train.beside > kTrainBeside * lane.train.bytes) lane.train.bytes = 0;
}

}  // namespace bondd::mlvpn
