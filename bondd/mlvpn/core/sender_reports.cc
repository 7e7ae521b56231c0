// The sender's second half: reports of the peer, what they say about rate, delay and
// loss, and links that owe them. The first half, sender.cc, chooses what leaves where.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bondd/mlvpn/core/brain_trace.h"
#include "bondd/mlvpn/core/sender_link.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kReorderLimit = 3;  // packets received above a missing one
constexpr double kNoLoss = 0.0005;          // an average that fades never gets to 0; half of what is shown
constexpr auto kFirstProbes = 100ms;        // until the first report
constexpr auto kRefresh = 400ms;            // between measurements of a link without traffic

}  // namespace

bool Sender::advances(LinkId id, std::uint64_t highest) const {
  const Link* const link = find(id);
  return link != nullptr && !link->outstanding.empty() && highest <= link->outstanding.back().seq &&
         (!link->any_report || highest > link->highest_reported);
}

void Sender::handle_report(TimePoint now, const Report& report) {
  for (const LinkReport& entry : report.links) handle_link_report(now, report, entry);
  update_queue_limit();
}

void Sender::confirm(TimePoint now, Link& link, Outstanding& packet) {
  packet.open = false;
  if (packet.bytes != 0) link.size.on_confirmed(now, packet.bytes - kOutside);
  link.in_flight -= packet.bytes;
  link.delivered += packet.bytes;
  // Down to nothing: numbers near the smallest cost the processor a hundred cycles each.
  if (packet.bytes != 0) {
    link.loss = link.loss < 1e-9 ? 0 : link.loss * (1 - 1 / kLossMemory);
    link.judged = std::min(link.judged + 1, kLossSettled);
  }
  if (packet.data) {
    release(packet.payload.packet);
    --kept_packets_;
  }
}

void Sender::lose(TimePoint now, Link& link, Outstanding& packet, bool by_silence) {
  packet.open = false;
  link.in_flight -= packet.bytes;
  if (packet.bytes != 0 && !by_silence) {
    link.size.on_lost(now, packet.bytes - kOutside);
    link.loss += (1 - link.loss) / kLossMemory;
    link.judged = std::min(link.judged + 1, kLossSettled);
  }
  if (!packet.data) return;
  if ((config_.repair || by_silence) && now - packet.payload.first_sent < kRepairFor) {
    repairs_.push_back(packet.payload);
    ++link.repaired;
  } else {
    release(packet.payload.packet);
    --kept_packets_;
  }
}

void Sender::trim(Link& link) {
  // Control packets at the front have nothing to tell any more.
  while (!link.outstanding.empty() &&
         (!link.outstanding.front().open || link.outstanding.front().bytes == 0)) {
    link.outstanding.pop_front();
  }
}

void Sender::handle_link_report(TimePoint now, const Report& report, const LinkReport& entry) {
  Link* const link = find_flow(entry.flow_id);
  if (link == nullptr || link->outstanding.empty()) return;
  auto& packets = link->outstanding;
  const bool was_narrow = link->size.is_narrow();
  if (entry.highest < packets.front().seq || entry.highest > packets.back().seq) return;
  const auto at = std::ranges::upper_bound(packets, entry.highest, {}, &Outstanding::seq);
  std::ptrdiff_t i = at - packets.begin() - 1;  // the newest that can have come
  if (i < 0 || packets[i].seq != entry.highest) return;
  const std::uint64_t timed_seq = entry.highest - std::min<std::uint64_t>(entry.highest, entry.back);
  const auto timed_at = std::ranges::lower_bound(packets, timed_seq, {}, &Outstanding::seq);
  const Outstanding newest = *timed_at;
  const bool timed = newest.seq == timed_seq && (!link->any_timed || timed_seq > link->highest_timed);
  const bool advanced = !link->any_report || entry.highest > link->highest_reported;

  // A hole is lost when three above it came that did not only run ahead: what those passed
  // had no time yet to come.
  const Line& rate = link->rate;
  const Duration overdue =
      from_ms(std::max(0.95 * rate.least_rtt_ms(), 0.9 * rate.rtt_ms() - 2 * rate.jitter_ms()));
  const Duration hopeless =
      from_ms(1.5 * std::max(rate.rtt_ms(), rate.greatest_rtt_ms()) + 4 * rate.jitter_ms() + 30);

  // Walk down from the highest: received, missing, received, …
  std::uint64_t upper = entry.highest + 1, above = 0;
  bool progress = false;
  const auto passed = [&](const Outstanding& packet) {
    return above >= kReorderLimit && packet.seq < timed_seq;
  };
  const auto walk = [&](std::uint64_t lowest, bool received) {
    for (; i >= 0 && packets[i].seq >= lowest; --i) {
      Outstanding& packet = packets[i];
      if (!packet.open) continue;
      if (received) {
        progress = progress || packet.bytes != 0;
        confirm(now, *link, packet);
      } else if (now - packet.sent >= (passed(packet) ? overdue : hopeless)) {
        lose(now, *link, packet, false);
      }
    }
    if (received) above += upper - lowest;
    upper = lowest;
  };
  for (const Gap& gap : entry.gaps) {
    walk(upper - gap.received, true);
    walk(upper - gap.missing, false);
  }
  const std::uint64_t lowest = entry.highest - std::min<std::uint64_t>(entry.highest, entry.span) + 1;
  if (lowest < upper) walk(lowest, true);
  // A report names only the newest holes: nothing more will be said of what lies below.
  walk(0, false);
  // What waits for the line may be longer than it carries.
  if (!was_narrow && link->size.is_narrow()) restage(*link);
  if (progress || (timed && newest.bytes != 0)) {
    link->last_progress = now;
    if (const std::size_t lost = std::exchange(link->lost_by_silence, 0); lost != 0 && link->silent)
      link->size.on_answer_after_silence(now, lost);
    link->silent = false;
  }
  if (advanced) {
    link->any_report = true;
    link->highest_reported = entry.highest;
  }
  if (!timed) {
    trim(*link);
    return;
  }
  link->any_timed = true;
  link->highest_timed = timed_seq;
  RateSample sample;
  sample.now = now;
  sample.sent = newest.sent;
  const std::int64_t way_us = static_cast<std::int32_t>(entry.arrived_us - report_clock(newest.sent));
  if (!clock_origin_us_) clock_origin_us_ = way_us;
  sample.one_way_ms = static_cast<double>(way_us - *clock_origin_us_) / 1000;
  const double hold =
      static_cast<double>(static_cast<std::int32_t>(report.clock_us - entry.arrived_us)) / 1000;
  sample.arrived = newest.sent + from_ms(sample.one_way_ms);
  sample.rtt_ms = std::max(0.1, to_ms(now - newest.sent) - std::max(hold, 0.0));
  sample.delivered = link->delivered;
  sample.app_limited = newest.idle;
  sample.light = newest.light;
  sample.control = newest.bytes == 0;
  sample.in_flight = newest.in_flight;
  if (newest.rate_valid && newest.bytes != 0) {
    const double arrived =
        static_cast<double>(static_cast<std::int32_t>(entry.arrived_us - newest.arrived_us)) / 1000;
    const double span = std::max(arrived, to_ms(newest.sent - newest.newest_sent));
    if (span > 1) sample.rate = (link->delivered - newest.delivered) * 1000 / span;
  }
  link->rate.set_loss(link->loss);
  link->rate.on_sample(sample);
  if (config_.trace != nullptr) config_.trace->on_sample(now, link->id, link->rate);
  link->newest_arrived_us = entry.arrived_us;
  link->newest_sent = newest.sent;
  trim(*link);
}

TimePoint Sender::probe_deadline(const Link& link) const {
  const Line& rate = link.rate;
  return std::max(link.last_progress,
                  link.outstanding.front().sent + from_ms(rate.rtt_ms() + 3 * rate.jitter_ms())) +
         25ms;
}

TimePoint Sender::silence_deadline(const Link& link) const {
  const Line& rate = link.rate;
  const double trip = rate.measured() ? std::max(rate.rtt_ms(), rate.greatest_rtt_ms()) : 300;
  return std::max(link.last_progress + 70ms, link.outstanding.front().sent + from_ms(trip) + 50ms) +
         from_ms(4 * rate.jitter_ms());
}

// When an unused link is to be measured (again): at once at first, and now and then
// while other links carry traffic.
TimePoint Sender::refresh_deadline(const Link& link) const {
  if (link.rate.samples() < 8) return link.next_probe;
  if (last_data_ < link.last_progress || (link.fallback && others_carry())) return TimePoint::max();
  return std::max(link.last_progress + kRefresh, link.next_probe);
}

void Sender::fall_silent(TimePoint now, Link& link) {
  link.silent = true;
  link.next_probe = now;
  put_back(link.id);
  for (Outstanding& packet : link.outstanding) {
    if (!packet.open) continue;
    if (const std::size_t size = packet.bytes - std::min<std::size_t>(packet.bytes, kOutside);
        size > PathSize::kBase)
      link.lost_by_silence = std::max(size, link.lost_by_silence);
    lose(now, link, packet, true);
  }
  trim(link);
  restage(link);
}

void Sender::handle_timeout(TimePoint now) {
  while (const auto due = acks_.take_due(now)) push(now, due->packet, due->bucket);
  for (const auto& link : links_) {
    if (!link->usable || link->silent) continue;
    if (now >= refresh_deadline(*link)) {
      link->probe_wanted = true;
      link->next_probe = now + kFirstProbes;
    }
    if (link->in_flight <= 0 || link->outstanding.empty()) continue;
    if (now >= silence_deadline(*link)) {
      fall_silent(now, *link);
    } else if (now >= probe_deadline(*link) && now >= link->next_probe) {
      link->probe_wanted = true;  // the tail may be lost: a packet behind it will tell
      link->next_probe = now + from_ms(std::max(20.0, link->rate.rtt_ms() / 2));
    }
  }
}

std::optional<TimePoint> Sender::next_timeout(TimePoint now) const {
  std::optional<TimePoint> first;
  const auto add = [&](TimePoint time) {
    if (!first || time < *first) first = time;
  };
  if (const auto due = acks_.next_timeout()) add(*due);
  const bool waiting = !queue_.empty() || !repairs_.empty();
  for (const auto& link : links_) {
    if (!link->usable || link->blocked) continue;  // path_writable will wake us
    if (link->silent) {
      add(link->next_probe);
      continue;
    }
    if (const auto probe = link->size.next_probe()) add(*probe);
    if (link->probe_wanted) add(now);
    if (const TimePoint refresh = refresh_deadline(*link); refresh != TimePoint::max()) add(refresh);
    if (link->in_flight > 0 && !link->outstanding.empty()) {
      add(silence_deadline(*link));
      add(std::max(probe_deadline(*link), link->next_probe));
    }
    const bool open = link->in_flight < link->rate.window() || link->in_flight <= 0;
    if (open && !link->blocked && (waiting || !link->staged.empty()) && link->next_send > now + kPacerSlack) {
      add(link->next_send - kPacerSlack / 4);
    }
  }
  return first;
}

// What a flow may keep here: enough to fill all links once more after it halved its
// window. While a link is still being found out, more: a flow that grows must not be
// stopped by a guess.
void Sender::update_queue_limit() {
  double rate = 0, trip = 0, loss = 0, jitter = 0, least = 1e9, most = -1e9;
  bool guessing = false;
  for (const auto& link : links_) {
    if (!link->usable || link->silent || !link->rate.measured()) continue;
    // One that long packets do not pass is hardly used, so the first guess of its rate stays one.
    if (link->size.is_narrow() && !link->rate.proven()) continue;
    guessing = guessing || !link->rate.proven();
    rate += link->rate.capacity();
    trip = std::max(trip, link->rate.greatest_rtt_ms());
    loss = std::max(loss, link->loss);
    jitter = std::max(jitter, link->rate.calm_jitter_ms());
    least = std::min(least, link->rate.one_way_ms());
    most = std::max(most, link->rate.one_way_ms());
  }
  if (rate > 0) queue_.set_rate(rate);
  acks_.set_interval(from_ms(std::clamp(0.19 * trip, 2.5, 50.0)));
  // A slow link is only used once the quick ones have their lead queued up; losses make
  // the flow's round trip longer by that of a repair.
  const double lead = most > least ? most - least : 0;
  const double share = loss > kCopyLoss || jitter > kCopyJitterMs ? 1.2 : 0.5;
  double wanted = std::max(rate * (lead + share * trip + 60) / 1000, 256e3);
  // On lines that jitter a repaired hole releases a whole window at once, and twice as much comes.
  const bool bursts = jitter > kCopyJitterMs;
  if (guessing) wanted = std::max(wanted, std::min((bursts ? 0.8 : 0.6) * rate, bursts ? 4e6 : 2e6));
  // Lowered step by step: a flow that filled the queue must not lose it all at once.
  wanted = std::max(wanted, static_cast<double>(queue_.limit()) * 0.996);
  queue_.set_limit(std::min(static_cast<std::size_t>(wanted), config_.most_queued_bytes),
                   from_ms(1.5 * trip + 30));
}

Duration Sender::patience() const {
  double trip = 0, jitter = 0, least = 1e9, most = -1e9;
  for (const auto& link : links_) {
    if (!link->usable || !link->rate.measured()) continue;
    trip = std::max(trip, std::min(link->rate.rtt_ms() + 4 * link->rate.jitter_ms(), 800.0));
    jitter = std::max(jitter, link->rate.jitter_ms());
    least = std::min(least, link->rate.one_way_ms());
    most = std::max(most, link->rate.one_way_ms());
  }
  if (trip == 0) return 250ms;
  const double wait = config_.repair ? 40 + 2.5 * trip + 4 * jitter : 40 + 4 * jitter + 0.5 * trip;
  return from_ms(std::clamp(wait, 15.0, 1000.0));
}

Duration Sender::report_interval() const {
  double trip = 1e9;
  for (const auto& link : links_) {
    if (link->usable && link->rate.measured()) trip = std::min(trip, link->rate.least_rtt_ms());
  }
  return from_ms(std::clamp(trip / 4, 5.0, 15.0));
}

// Without what is left of the assumption that the link began with.
std::optional<double> Sender::Link::measured_loss() const {
  if (judged < kLossKnown) return std::nullopt;
  const double left = std::pow(1 - 1 / kLossMemory, judged);
  return std::max(0.0, (loss - kLossBefore * left) / (1 - left));
}

std::vector<SenderLinkView> Sender::view() const {
  std::vector<SenderLinkView> result;
  for (const auto& link : links_) {
    SenderLinkView v;
    v.link = link->id;
    if (link->rate.measured()) {
      v.rtt_ms = link->rate.rtt_ms();
      v.queue_ms = link->rate.queue_ms();
      // In its start-up a link was not full yet: what it believes then is its first guess, or less.
      if (link->rate.phase() != Phase::kStartup) v.capacity = link->rate.capacity();
    }
    if (const auto loss = link->measured_loss()) v.loss_percent = *loss < kNoLoss ? 0 : *loss * 100;
    v.repaired = link->repaired;
    if (link->size.found()) v.longest = link->size.limit();
    result.push_back(v);
  }
  return result;
}

std::string Sender::explain(LinkId id, const std::function<std::string(LinkId)>& name) const {
  const Link* const link = find(id);
  if (link == nullptr) return {};
  if (!link->usable || link->silent || !link->rate.measured()) return {};  // the link's state says it
  const Link* quickest = link;
  bool others = false;
  for (const auto& l : links_) {
    if (l.get() == link || !l->usable || l->silent || !l->rate.measured()) continue;
    others = true;
    if (l->rate.one_way_ms() < quickest->rate.one_way_ms()) quickest = l.get();
  }
  if (!others) return "no other link can be used";
  if (link->fallback) return "only used when no other link can be";
  std::string text;
  const auto add = [&text](const std::string& more) { text += (text.empty() ? "" : "; ") + more; };
  if (quickest != link) {
    add(fmt::format("{:.0f} ms slower than {}", link->rate.one_way_ms() - quickest->rate.one_way_ms(),
                    name(quickest->id)));
  }
  if (const auto loss = link->measured_loss(); loss && *loss >= 0.002)
    add(fmt::format("{:.1f} % packet loss on what we send", *loss * 100));
  if (link->rate.queue_ms() > 20) add(fmt::format("{:.0f} ms of queue", link->rate.queue_ms()));
  return text;
}

}  // namespace bondd::mlvpn
