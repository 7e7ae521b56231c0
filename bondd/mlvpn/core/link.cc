#include "bondd/mlvpn/core/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr auto kAuthFast = 500ms;  // the first tries; then
constexpr auto kAuthSlow = 1s;     // as upstream: its server runs a script for each AUTH
constexpr unsigned kAuthFastTries = 10;
constexpr auto kKeepalive = 1s;
constexpr auto kEchoLife = 1s;     // older timestamps are not echoed
constexpr auto kMaxSample = 5000;  // ms; longer "round trips" are wrap-around
constexpr auto kMinTimeout = 2s;
constexpr auto kResolveFirst = 5s;
constexpr auto kResolveAgain = 30s;
constexpr auto kBadMacQuiet = 10s;
constexpr auto kStrangerQuiet = 1s;
constexpr auto kAskQuiet = 200ms;               // between AUTHs at the word of a DISCONNECT
constexpr unsigned kFlowLife = 10;              // AUTHs without an answer; then another flow is tried
constexpr auto kProofAgain = 150ms;             // a proof may get lost; and two round trips
constexpr std::string_view kBye = "BYE";        // a bondd's DISCONNECT
constexpr Duration kSilentProbe = 100ms;        // how often a silent link is asked
constexpr Duration kProbeIdle = 1600ms;         // a bondd peer's keepalive is missing
constexpr Duration kKeepaliveMissing = 3200ms;  // an upstream peer's; it may send one in 2 s
constexpr Duration kQuietServer = 2500ms;       // then a client says AUTH, though it is in session;
constexpr Duration kQuietServerBusy = 1500ms;   // sooner when it sends DATA
constexpr Duration kFalseAlarm = 2500ms;        // back within this, a silent link was alive
constexpr Duration kAlarmMemory = 60s;
constexpr Duration kBusyGap = 100ms;  // packets come closer than this: DATA flows
// An original server answers nothing at once but AUTH, and runs a script for it. So it is only
// asked when DATA found no echo for this long, and after each needless question for twice as long.
constexpr Duration kAskAfter = 250ms, kAskMemory = 10min;
// A link on another one's line: how often the server is told at first, how far apart, and
// when its own line is tried (again).
constexpr unsigned kRefugeRepeats = 2;
constexpr Duration kRefugeGap = 80ms;
constexpr Duration kTryHome = 500ms, kTryHomeMost = 4s;
constexpr auto kNever = TimePoint::max();

std::string seconds(Duration d) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(d).count());
}
std::string milliseconds(Duration d) {
  return fmt::format("{} ms", std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

std::int64_t wire_ms(TimePoint now, TimePoint epoch) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - epoch).count();
}

}  // namespace

const char* to_string(LinkState state) {
  switch (state) {
    case LinkState::kDown:
      return "down";
    case LinkState::kStarting:
      return "starting";
    case LinkState::kUp:
      return "up";
    case LinkState::kLossy:
      return "lossy";
    case LinkState::kSlow:
      return "slow";
    case LinkState::kSilent:
      return "silent";
  }
  return "?";
}

Link::Link(TimePoint now, LinkId id, const LinkConfig& config, LinkContext& context, std::uint64_t first_seq)
    : id_(id),
      config_(config),
      context_(context),
      state_(context.role == Role::kClient ? LinkState::kStarting : LinkState::kDown),
      reason_(context.role == Role::kClient ? "no reply yet" : "waiting for the office"),
      flow_id_(0),
      seq_(first_seq),
      proofs_({context.random.next64(), context.random.next64()}),
      probe_mask_(context.random.next64()),
      asked_at_(now - kAskQuiet),
      heard_(now),
      next_auth_(now),
      next_keepalive_(kNever),
      next_tick_(now + 1s),
      next_resolve_(now + kResolveFirst),
      down_since_(now),
      stranger_answered_(now - kStrangerQuiet),
      bad_mac_event_(now - kBadMacQuiet),
      deadline_(now) {
  renew_flow();
  // An upstream server that still holds the session of our last run flushes its
  // reorder buffer on this; else it would leak a packet for each that we send.
  if (context_.role == Role::kClient && config_.remote) {
    queue_control(PacketType::kDisconnect, *config_.remote, id_);
  }
}

// Two links with one flow id would use the same nonces.
void Link::renew_flow() {
  renew_flow_ = false;
  std::uint32_t wanted = context_.random.next32();
  while (context_.flow_in_use && context_.flow_in_use(wanted)) wanted = context_.random.next32();
  flow_id_ = wanted;
}

const std::optional<Announcement>& Link::peer() const {
  static constexpr std::optional<Announcement> kNone;
  return flows_.current() ? flows_.current()->announcement : kNone;
}

// ---------------------------------------------------------------- sending

Header Link::next_header(TimePoint now, PacketType type, std::size_t length) {
  if (renew_flow_ && type == PacketType::kAuth) renew_flow();
  Header h;
  h.length = static_cast<std::uint16_t>(length);
  h.type = static_cast<std::uint8_t>(type);
  h.flow_id = flow_id_;
  h.seq = seq_++;
  h.timestamp = wire_timestamp(wire_ms(now, context_.epoch));
  if (peer_timestamp_ != kNoTimestamp) {
    const auto held = now - peer_timestamp_at_;
    if (held < kEchoLife) {
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(held).count();
      h.timestamp_reply = static_cast<std::uint16_t>(peer_timestamp_ + ms);
    }
    peer_timestamp_ = kNoTimestamp;  // each is echoed once
  }
  return h;
}

std::optional<Endpoint> Link::destination() const {
  if (in_session() && flows_.current()) return flows_.current()->peer;
  return config_.remote;
}

void Link::on_sent(TimePoint now, PacketType type, std::size_t datagram_bytes) {
  ++tx_packets_;
  tx_bytes_ += datagram_bytes;
  if (type == PacketType::kData && !unanswered_since_) {
    unanswered_since_ = now;
    deadline_ = std::min(deadline_, now + probe_interval());
  }
}

void Link::queue_control(PacketType type, const Endpoint& to, LinkId path, std::span<const std::uint8_t> body,
                         bool new_key) {
  if (control_.full()) return;  // 32 waiting: the socket is stuck, more would not help
  ControlPacket packet{type, to, path, static_cast<std::uint8_t>(body.size()), {}, new_key};
  std::copy(body.begin(), body.end(), packet.body.begin());
  control_.push(packet);
}

void Link::send_auth(TimePoint now) {
  // The server may hold this flow for over: a recording of a run of ours took its place.
  if (state_ == LinkState::kStarting && auth_tries_ != 0 && auth_tries_ % kFlowLife == 0) renew_flow_ = true;
  next_auth_ = now + (auth_tries_ < kAuthFastTries ? kAuthFast : kAuthSlow);
  if (proof_ != 0)
    next_auth_ = std::min(next_auth_, now + std::max<Duration>(kProofAgain, 2 * estimator_.srtt()));
  ++auth_tries_;
  if (!config_.remote) return;
  std::optional<Announcement> ours;
  if (context_.announce) {
    const std::uint64_t challenge = context_.random.next64();
    challenges_[challenge_count_++ % challenges_.size()] = challenge;
    ours = {kOurCapabilities, context_.session, challenge};
  }
  queue_control(PacketType::kAuth, *config_.remote, id_, render_handshake("AU", ours, true, proof_).span());
}

void Link::send_auth_ok(const Endpoint& to, const Handshake& asked, std::uint64_t proof) {
  std::optional<Announcement> ours;
  if (context_.announce && asked.announcement)
    ours = {kOurCapabilities, context_.session, asked.announcement->challenge};
  queue_control(PacketType::kAuthOk, to, id_, render_handshake("OK", ours, proof != 0, proof).span());
}

// Old bondds refuse one with a text, an original peer does not look.
void Link::send_disconnect(const Endpoint& to, LinkId path) {
  const std::span bye(reinterpret_cast<const std::uint8_t*>(kBye.data()), kBye.size());
  queue_control(PacketType::kDisconnect, to, path,
                peer_can(kCapProof) ? bye : std::span<const std::uint8_t>());
}

// Somebody says that our session is over. AUTH does no harm if it is not.
void Link::ask_for_session(TimePoint now) {
  if (context_.role != Role::kClient || now - asked_at_ < kAskQuiet) return;
  asked_at_ = now;
  send_auth(now);
  update_deadline(now);
}

// -------------------------------------------------------------- receiving

bool Link::trusts_clear(const Header& header, const Endpoint& from) const {
  const auto& flow = flows_.current();
  return in_session() && flow && flow->id == header.flow_id && flow->peer == from;
}

// The type is not authenticated. What each must contain, and must not, tells a packet that was
// made into another one on the way.
bool Link::is_well_formed(const Header& header, std::span<const std::uint8_t> text) const {
  constexpr std::size_t kProbeSize = 8;
  if (header.is(PacketType::kKeepalive)) return text.empty();
  if (header.is(PacketType::kData)) return !text.empty();
  if (header.is(PacketType::kProbe) || header.is(PacketType::kProbeReply)) return text.size() == kProbeSize;
  if (header.is(PacketType::kDisconnect)) return text.empty() || std::ranges::equal(text, kBye);
  if (header.is(PacketType::kAuth) || header.is(PacketType::kAuthOk))
    return !text.empty() || !FlowTable::time_based(header.seq);
  return true;
}

Link::Outcome Link::on_packet(TimePoint now, const Header& header, FlowTable::Place place, LinkId path,
                              const Endpoint& from, std::span<const std::uint8_t> text, bool clear) {
  if (!is_well_formed(header, text)) return Outcome::kForeign;
  if (place == FlowTable::Place::kReplay) return Outcome::kReplayed;
  if (place == FlowTable::Place::kRetired && !header.is(PacketType::kAuth)) return Outcome::kReplayed;

  if (place == FlowTable::Place::kUnknown || place == FlowTable::Place::kRetired)
    return on_unknown_flow(now, header, place, from, text);
  const FlowTable::Accepted accepted =
      clear ? flows_.accept_clear(now, header.seq)
            : flows_.accept(now, place, header.seq, from, header.is(PacketType::kAuth));
  if (!accepted.fresh) return Outcome::kReplayed;
  forged_ = forged_ || accepted.forged;
  rx_bytes_ += kOverhead + text.size();
  ++rx_packets_;
  if (place == FlowTable::Place::kCandidate) {
    const auto said = parse_handshake(text, "AU");
    if (header.is(PacketType::kAuth) && context_.role == Role::kServer && said) send_auth_ok(from, *said);
    return Outcome::kHandled;
  }
  if (place == FlowTable::Place::kPrevious) {
    if (!accepted.newest || !flows_.take_back(now)) {
      const bool straggler = header.is(PacketType::kData) && !FlowTable::time_based(header.seq);
      return straggler && in_session() ? Outcome::kDeliver : Outcome::kHandled;
    }
    flow_switched();
  }
  if (accepted.moved && in_session()) event(EventKind::kPeerMoved, "the peer sends from a new address");
  return on_known_flow(now, header, path, from, text);
}

Link::Outcome Link::on_known_flow(TimePoint now, const Header& header, LinkId path, const Endpoint& from,
                                  std::span<const std::uint8_t> text) {
  const bool by_own_line = path == id_ || !refuge_;
  on_heard(now, header, by_own_line);
  const bool newest = header.seq == flows_.current()->window.newest();
  if (header.is(PacketType::kAuth) || header.is(PacketType::kAuthOk)) {
    if (!by_own_line) return Outcome::kHandled;
    return newest ? on_handshake(now, header, from, text, FlowTable::Place::kCurrent) : Outcome::kHandled;
  }
  if (header.is(PacketType::kDisconnect)) return on_disconnect(now, newest, text);
  if (!in_session()) {
    if (needs_auth_) {
      if (context_.role == Role::kServer && now - stranger_answered_ >= kStrangerQuiet) {
        stranger_answered_ = now;
        send_disconnect(from, id_);
      }
      return Outcome::kHandled;
    }
    // The session only timed out here; the peer still holds it and speaks.
    set_state(now, LinkState::kUp, "heard again");
    next_keepalive_ = now;
  }
  if (header.is(PacketType::kData)) return Outcome::kDeliver;
  if (header.is(PacketType::kProbe)) {
    queue_control(PacketType::kProbeReply, from, id_, text);
  } else if (header.is(PacketType::kProbeReply)) {
    const std::uint64_t stamp = load_be<std::uint64_t>(text.data()) ^ probe_mask_;
    const auto sent = TimePoint(Duration(static_cast<std::int64_t>(stamp)));
    if (sent <= now && now - sent < 5s) estimator_.on_rtt(now, now - sent);
    on_answer(now);
  }
  return Outcome::kHandled;
}

// Between two new bondds only the word that no other packet has ends a session.
Link::Outcome Link::on_disconnect(TimePoint now, bool newest, std::span<const std::uint8_t> text) {
  if (text.empty() && peer_can(kCapProof)) {
    ask_for_session(now);
    return Outcome::kForeign;
  }
  if (newest && in_session()) end_session(now, "the peer disconnected", 200ms);
  return Outcome::kHandled;
}

Link::Outcome Link::on_unknown_flow(TimePoint now, const Header& header, FlowTable::Place place,
                                    const Endpoint& from, std::span<const std::uint8_t> text) {
  if (header.is(PacketType::kAuth) || header.is(PacketType::kAuthOk)) {
    return on_handshake(now, header, from, text, place);
  }
  if (header.is(PacketType::kDisconnect)) {
    // A server that restarted says so; one that did not was recorded.
    if (in_session() && peer() && FlowTable::time_based(header.seq)) ask_for_session(now);
    return Outcome::kForeign;
  }
  // Somebody with the key holds a session that we do not have (we restarted).
  if (context_.role == Role::kServer && !in_session() && now - stranger_answered_ >= kStrangerQuiet) {
    stranger_answered_ = now;
    queue_control(PacketType::kDisconnect, from, id_);
  }
  return Outcome::kForeign;
}

Link::Outcome Link::on_handshake(TimePoint now, const Header& header, const Endpoint& from,
                                 std::span<const std::uint8_t> text, FlowTable::Place place) {
  const bool server = context_.role == Role::kServer;
  if (!header.is(server ? PacketType::kAuth : PacketType::kAuthOk)) return Outcome::kForeign;
  const auto said = parse_handshake(text, server ? "AU" : "OK");
  if (!said) return Outcome::kForeign;
  const bool known_flow = place == FlowTable::Place::kCurrent;
  // What a flow can does not become less.
  if (known_flow && peer() && !said->announcement) return Outcome::kForeign;
  if (!server) {
    if (said->announcement && !is_challenge(said->announcement->challenge)) return Outcome::kReplayed;
    // Without a challenge only the address speaks for an unknown answer.
    if (!said->announcement && !known_flow && config_.remote != from) return Outcome::kForeign;
  }
  Outcome outcome = Outcome::kHandled;
  if (!known_flow) {
    if (!admit_flow(now, header, from, *said, place, outcome)) return outcome;
    flow_switched();
    rx_bytes_ += kOverhead + text.size();
    ++rx_packets_;
    on_heard(now, header, true);
  }
  established(now, from, *said, !known_flow);
  return outcome;
}

// A flow that is not the current one said AUTH or AUTH_OK. True when it is the current one now.
// Nothing changes for one that can prove that it is alive before it has.
bool Link::admit_flow(TimePoint now, const Header& header, const Endpoint& from, const Handshake& said,
                      FlowTable::Place place, Outcome& outcome) {
  const bool server = context_.role == Role::kServer;
  bool proven = !server && said.announcement;  // it answers a challenge of ours
  if (server && context_.announce && said.can_prove()) {
    const std::uint64_t number = proofs_.number(header.flow_id);
    if (said.proof != number) {
      send_auth_ok(from, said, number);
      return false;
    }
    proofs_.used();
    proven = true;
  }
  outcome = Outcome::kReplayed;
  if (place == FlowTable::Place::kRetired && !proven) return false;
  switch (flows_.propose(now, {.flow_id = header.flow_id,
                               .seq = header.seq,
                               .from = from,
                               .announcement = said.announcement,
                               .proven = proven,
                               .link_up = in_session(),
                               .timeout = std::max<Duration>(config_.timeout, kMinTimeout)})) {
    case FlowTable::Verdict::kRefused:
      return false;
    case FlowTable::Verdict::kWaits:
      if (server) send_auth_ok(from, said);
      outcome = Outcome::kHandled;
      return false;
    case FlowTable::Verdict::kSwitched:
      break;
  }
  outcome = Outcome::kHandled;
  return true;
}

void Link::established(TimePoint now, const Endpoint& from, const Handshake& said, bool new_flow) {
  if (context_.role == Role::kServer) send_auth_ok(from, said);
  needs_auth_ = false;
  if (context_.role == Role::kClient) proof_ = said.proof;
  auth_tries_ = 0;
  on_answer(now);
  if (context_.role == Role::kClient && proof_ != 0) send_auth(now);
  if (in_session() && !new_flow) return;
  next_keepalive_ = now + kKeepalive;
  if (!in_session()) {
    set_state(now, LinkState::kUp, "connected");
  }
}

void Link::flow_switched() {
  ++flow_generation_;
  estimator_.restart();
  peer_timestamp_ = kNoTimestamp;
}

void Link::on_heard(TimePoint now, const Header& header, bool by_own_line) {
  heard_ = now;
  if (header.version != 0) estimator_.on_received(now, flows_.current()->newest());
  if (header.timestamp != kNoTimestamp) {
    peer_timestamp_ = header.timestamp;
    peer_timestamp_at_ = now;
  }
  if (!by_own_line) return;  // lives, but its line need not
  if (refuge_) {
    refuge_.reset();
    next_keepalive_ = now;
  }
  if (header.timestamp_reply != kNoTimestamp) {
    const auto mine = static_cast<std::uint16_t>(wire_ms(now, context_.epoch));
    const auto sample = static_cast<std::uint16_t>(mine - header.timestamp_reply);
    if (sample < kMaxSample) {
      echo_ = std::chrono::milliseconds(sample);
      estimator_.on_rtt(now, *echo_);
    }
    on_answer(now);
  } else if (!peer() && state_ == LinkState::kSilent) {
    on_answer(now);
  }
}

// Something shows that our packets arrive.
void Link::on_answer(TimePoint now) {
  if (first_probe_ && is_asked_by_auth() && state_ != LinkState::kSilent) {
    ++asked_in_vain_;
    asked_in_vain_at_ = now;
  }
  unanswered_since_.reset();
  first_probe_.reset();
  probes_ = 0;
  if (state_ == LinkState::kSilent) set_state(now, LinkState::kUp, "answers again");
}

void Link::on_bad_mac(TimePoint now, const Endpoint& from) {
  if (now - bad_mac_event_ < kBadMacQuiet) return;
  bad_mac_event_ = now;
  event(EventKind::kWrongPassword, fmt::format("packets from {}:{} do not open: its password is another one",
                                               to_string(from.address), from.port));
}

bool Link::is_challenge(std::uint64_t value) const {
  const auto end = challenges_.begin() + std::min<std::ptrdiff_t>(challenge_count_, std::ssize(challenges_));
  return std::find(challenges_.begin(), end, value) != end;
}

// ------------------------------------------------------------------- time

void Link::on_timer(TimePoint now, const Surroundings& others) {
  if (flows_.promote_candidate(now)) {
    flow_switched();
    heard_ = now;
    if (!in_session()) set_state(now, LinkState::kUp, "connected");
  }
  if (now >= next_tick_) {
    next_tick_ = now + 1s;
    estimator_.tick(now);
    if (in_session()) check_tolerances(now);
  }
  if (in_session()) check_session(now, others);
  if (state_ == LinkState::kStarting) {
    if (now >= next_auth_) send_auth(now);
    if (now >= next_resolve_) {
      next_resolve_ = now + kResolveAgain;
      event(EventKind::kResolve,
            "no answer for " + seconds(now - down_since_) +
                " (the server is down, the port is blocked, or its password is another one)");
    }
  }
  update_deadline(now);
}

void Link::check_session(TimePoint now, const Surroundings& others) {
  const Duration timeout = std::max<Duration>(config_.timeout, kMinTimeout);
  if (now - heard_ > timeout) {
    end_session(now, "no packet for " + seconds(now - heard_), Duration::zero());
    needs_auth_ = false;  // the peer may still hold the session and be heard again
    return;
  }
  if (now >= next_keepalive_) {
    const bool repeat = refuge_ && refuge_->repeats > 0;
    if (repeat) --refuge_->repeats;
    next_keepalive_ = now + (repeat ? kRefugeGap : kKeepalive);
    if (const auto to = destination()) queue_control(PacketType::kKeepalive, *to, carrier());
  }
  // A server that restarted ignores a session that it does not know (upstream
  // says nothing at all); to one that did not, AUTH does no harm.
  const bool quiet = !refuge_ && now - heard_ > quiet_server();
  if (context_.role == Role::kClient && (quiet || proof_ != 0) && now >= next_auth_) send_auth(now);
  check_silence(now, others);
  if (refuge_) try_home(now, others);
}

Duration Link::quiet_server() const {
  return unanswered_since_ ? kQuietServerBusy : kQuietServer;
}

Duration Link::probe_interval() const {
  if (!estimator_.has_rtt()) return 50ms;
  return std::clamp<Duration>(estimator_.srtt() / 3, 15ms, 100ms);
}

Duration Link::silence_limit() const {
  if (!estimator_.has_rtt()) return 500ms;
  return std::clamp<Duration>(estimator_.srtt() * 3 / 2 + 4 * estimator_.rttvar(), 80ms, 1500ms);
}

// Finds out within a few round trips that a line is dead, as long as another one
// lives: with no other link there is nothing better to do than to wait.
void Link::check_silence(TimePoint now, const Surroundings& others) {
  if (others_mark_for_ != heard_) {
    others_mark_for_ = heard_;
    others_received_at_heard_ = others.others_received;
  }
  if (peer_can(kCapProbe)) {
    const bool keepalive_missing = now - heard_ > kProbeIdle;
    if (!unanswered_since_ && keepalive_missing) unanswered_since_ = now - probe_interval();
    if (!unanswered_since_ || now - *unanswered_since_ < probe_interval()) return;
    const Duration interval = state_ == LinkState::kSilent ? kSilentProbe : probe_interval();
    if (now - last_probe_ >= interval) {
      if (!first_probe_) first_probe_ = now;
      ++probes_;
      send_probe(now);
    }
    if (state_ != LinkState::kSilent && probes_ >= 3 && now - *first_probe_ >= silence_limit() &&
        others.other && others.other_heard >= *first_probe_) {
      go_silent(now, "no answer for " + milliseconds(now - *unanswered_since_), others);
    }
    return;
  }
  // An upstream peer answers at most once a second. But while it sends DATA on
  // all links, one that goes quiet while others go on is dead; and so is one
  // that misses its keepalives.
  if (state_ == LinkState::kSilent || !others.other) return;
  const Duration quiet = now - heard_;
  const Duration gap = estimator_.heard_gap();
  const bool was_busy = gap < kBusyGap;
  if (now - false_alarm_at_ > kAlarmMemory) false_alarms_ = 0;
  const Duration least = 120ms * (1 << std::min(false_alarms_, 5U));
  const Duration limit =
      was_busy ? std::min(std::max<Duration>({silence_limit(), gap * 6, least}), kKeepaliveMissing)
               : kKeepaliveMissing;
  const std::uint64_t others_since = others.others_received - others_received_at_heard_;
  if (quiet > limit && others_since >= (was_busy ? 8U : 2U)) {
    go_silent(now, "no packet for " + milliseconds(quiet), others);
  } else if (is_asked_by_auth() && unanswered_since_) {
    ask_server(now, others);
  }
}

// All of our flow may be on the dead line, and the server then has nothing to send at all.
void Link::ask_server(TimePoint now, const Surroundings& others) {
  if (!first_probe_) {
    if (now - asked_in_vain_at_ > kAskMemory) asked_in_vain_ = 0;
    const Duration patience = kAskAfter * (1 << std::min(asked_in_vain_, 8U));
    if (now - *unanswered_since_ < std::max(silence_limit(), patience)) return;
    first_probe_ = now;
    probes_ = 1;
    send_auth(now);
  } else if (now - *first_probe_ >= silence_limit() && others.other_heard >= *first_probe_) {
    go_silent(now, "no answer for " + milliseconds(now - *unanswered_since_), others);
  }
}

void Link::send_probe(TimePoint now) {
  last_probe_ = now;
  std::uint8_t body[8];
  store_be(body, static_cast<std::uint64_t>(now.time_since_epoch().count()) ^ probe_mask_);
  if (const auto to = destination()) queue_control(PacketType::kProbe, *to, id_, body);
}

std::optional<TimePoint> Link::suspect_since(TimePoint now) const {
  if (!in_session() || state_ == LinkState::kSilent || !first_probe_) return std::nullopt;
  if (probes_ < 2 && !is_asked_by_auth()) return std::nullopt;
  const Duration overdue = estimator_.srtt() + 2 * estimator_.rttvar();
  return now - *first_probe_ > overdue ? first_probe_ : std::nullopt;
}

void Link::probe_idle(TimePoint now) {
  if (!in_session()) return;
  if (is_asked_by_auth() && now >= next_auth_) send_auth(now);
  if (!peer_can(kCapProbe) || now - last_probe_ < probe_interval()) return;
  // Also counts as a question of its own: a second dead line is found, too.
  if (!unanswered_since_) unanswered_since_ = now;
  send_probe(now);
  update_deadline(now);
}

// No data of ours goes there any more.
void Link::go_silent(TimePoint now, std::string reason, const Surroundings& others) {
  silent_since_ = now;
  if (others.other) reason += " while " + std::string(others.other_name) + " answers";
  set_state(now, LinkState::kSilent, std::move(reason));
  if (context_.role != Role::kClient || peer() || !others.other || !others.reachable || !destination())
    return;
  refuge_ = Refuge{.next = now + kTryHome, .interval = kTryHome};
  take_refuge(now, *others.other);
}

// An upstream server hears of a dead line only by its own timeout, and one that has ended
// the session may then find no line at all that it would use (its only other one is lossy).
void Link::take_refuge(TimePoint now, LinkId carrier) {
  refuge_->carrier = carrier;
  refuge_->trying = false;
  refuge_->repeats = kRefugeRepeats;
  next_keepalive_ = now;  // carries our address
  update_deadline(now);
}

void Link::try_home(TimePoint now, const Surroundings& others) {
  if (!others.carrier_lives && others.other && others.reachable) take_refuge(now, *others.other);
  if (now < refuge_->next) return;
  if (!refuge_->trying) {
    refuge_->trying = true;
    refuge_->tried = now;
    refuge_->next = now + std::clamp<Duration>(2 * estimator_.srtt() + kRefugeGap, 2 * kRefugeGap, 1500ms);
    next_keepalive_ = refuge_->next;  // by the carrier's line; it would move the server again
    send_auth(now);
    return;
  }
  // No answer. If the AUTH arrived, what the server sends for this link is lost meanwhile:
  // such a line is tried less and less often.
  const bool moved = heard_ < refuge_->tried + (now - refuge_->tried) / 2;
  refuge_->interval = moved ? std::min(2 * refuge_->interval, kTryHomeMost) : kTryHome;
  refuge_->next = now + refuge_->interval;
  take_refuge(now, refuge_->carrier);
}

void Link::check_tolerances(TimePoint now) {
  if (state_ == LinkState::kSilent) return;
  const auto loss = estimator_.rx_loss();
  const bool lossy = config_.loss_tolerance < 100 && loss && *loss >= config_.loss_tolerance;
  const bool slow = config_.latency_tolerance > Duration::zero() && estimator_.has_rtt() &&
                    estimator_.srtt() >= config_.latency_tolerance;
  const LinkState wanted = lossy ? LinkState::kLossy : slow ? LinkState::kSlow : LinkState::kUp;
  if (wanted == state_) return;
  const double percent = loss.value_or(0);
  switch (wanted) {
    case LinkState::kLossy:
      set_state(now, wanted,
                fmt::format("{:.0f} % packet loss >= {:.0f} %", percent, config_.loss_tolerance));
      break;
    case LinkState::kSlow:
      set_state(
          now, wanted,
          "latency " + milliseconds(estimator_.srtt()) + " >= " + milliseconds(config_.latency_tolerance));
      break;
    case LinkState::kUp:
    case LinkState::kDown:
    case LinkState::kStarting:
    case LinkState::kSilent:
      set_state(now, LinkState::kUp, "within its tolerances again");
      break;
  }
}

void Link::update_deadline(TimePoint now) {
  TimePoint at = next_tick_;
  if (const auto c = flows_.candidate_deadline()) at = std::min(at, *c);
  if (state_ == LinkState::kStarting) at = std::min({at, next_auth_, next_resolve_});
  if (in_session()) {
    if (context_.role == Role::kClient)
      at = std::min(at, proof_ != 0 ? next_auth_ : std::max(heard_ + quiet_server() + 1ms, next_auth_));
    if (refuge_) at = std::min(at, refuge_->next);
    at = std::min({at, next_keepalive_, heard_ + std::max<Duration>(config_.timeout, kMinTimeout) + 1ms});
    if (!peer_can(kCapProbe)) {
      // An upstream peer's silence is only seen by looking.
      if (state_ != LinkState::kSilent) at = std::min(at, std::max(now + 40ms, heard_ + kKeepaliveMissing));
      if (estimator_.heard_gap() < kBusyGap || unanswered_since_) at = std::min(at, now + 40ms);
    } else if (unanswered_since_) {
      const Duration interval = state_ == LinkState::kSilent ? kSilentProbe : probe_interval();
      at = std::min(at, std::max(*unanswered_since_ + probe_interval(), last_probe_ + interval));
    } else {
      at = std::min(at, heard_ + kProbeIdle + 1ms);
    }
  }
  // A deadline that nothing can be done about must not spin the loop.
  deadline_ = std::max(at, now + 1ms);
}

// ---------------------------------------------------------- configuration

void Link::update(TimePoint now, const LinkConfig& config) {
  const auto remote = config.remote;
  const auto old = config_.remote;
  config_ = config;
  config_.remote = old;
  if (remote && remote != old) set_remote(now, *remote);
  update_deadline(now);
}

void Link::set_remote(TimePoint now, const Endpoint& remote) {
  if (config_.remote == remote) return;
  config_.remote = remote;
  if (context_.role != Role::kClient) return;
  renew_flow_ = true;  // where it goes now another link of ours may be known by this flow
  if (in_session()) {
    if (const auto to = destination()) send_disconnect(*to, carrier());
    end_session(now, "the server's address or port changed, connecting", Duration::zero());
  } else {
    next_auth_ = now;
    auth_tries_ = 0;
  }
  update_deadline(now);
}

void Link::on_path_failed(TimePoint now, const std::string& why, const Surroundings& others) {
  if (!in_session()) {
    reason_ = why;
  } else if (state_ != LinkState::kSilent) {
    unanswered_since_ = unanswered_since_.value_or(now);
    go_silent(now, why, others);
  }
  update_deadline(now);
}

void Link::disconnect(TimePoint now) {
  control_.clear();
  if (in_session()) {
    if (const auto to = destination()) send_disconnect(*to, carrier());
    end_session(now, "switched off", std::chrono::hours(24 * 365));
  }
}

// ------------------------------------------------------------------ states

void Link::end_session(TimePoint now, std::string reason, Duration retry_after) {
  ++disconnects_;
  needs_auth_ = true;
  proof_ = 0;
  refuge_.reset();
  unanswered_since_.reset();
  first_probe_.reset();
  probes_ = 0;
  auth_tries_ = 0;
  down_since_ = now;
  next_auth_ = now + retry_after;
  next_resolve_ = now + kResolveFirst;
  next_keepalive_ = kNever;
  set_state(now, context_.role == Role::kClient ? LinkState::kStarting : LinkState::kDown, std::move(reason));
}

// A link that is back at once had not been dead: its peer had just chosen another
// one (upstream's fallback, a line that it finds lossy). Look less quickly then.
void Link::judge_silence(TimePoint now) {
  if (silent_since_ == TimePoint{}) return;
  if (now - silent_since_ < kFalseAlarm) {
    ++false_alarms_;
    false_alarm_at_ = now;
  }
  silent_since_ = TimePoint{};
}

void Link::set_state(TimePoint now, LinkState state, std::string reason) {
  const LinkState from = state_;
  if (state == LinkState::kUp) judge_silence(now);
  state_ = state;
  reason_ = std::move(reason);
  context_.events.push_back({EventKind::kState, id_, from, state, reason_});
  update_deadline(now);
}

void Link::event(EventKind kind, std::string reason) {
  context_.events.push_back({kind, id_, state_, state_, std::move(reason)});
}

void Link::fill(TimePoint now, LinkStats& out) const {
  out.id = id_;
  out.name = config_.name;
  out.state = state_;
  out.reason = reason_;
  out.peer_is_bondd = peer().has_value();
  out.peer = destination();
  out.path = carrier();
  if (estimator_.has_rtt()) {
    out.rtt_ms = to_ms(estimator_.srtt());
    out.rtt_var_ms = to_ms(estimator_.rttvar());
  }
  out.loss_percent = estimator_.rx_loss();
  out.rx_bytes = rx_bytes_;
  out.tx_bytes = tx_bytes_;
  out.rx_packets = rx_packets_;
  out.tx_packets = tx_packets_;
  out.disconnects = disconnects_;
  if (rx_packets_ > 0) out.heard_ago = now - heard_;
}

}  // namespace bondd::mlvpn
