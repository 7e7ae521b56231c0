#include "bondd/mlvpn/core/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/bytes.h"
#include "bondd/mlvpn/core/link_times.h"

namespace bondd::mlvpn {
namespace {

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
      session_seq_(first_seq),
      proofs_({context.random.next64(), context.random.next64()}),
      probe_mask_(context.random.next64()),
      asked_at_(now - kAskQuiet),
      heard_(now),
      answered_(now),
      data_at_(now),
      next_auth_(now),
      next_keepalive_(kNever),
      next_tick_(now + 1s),
      next_resolve_(now + kResolveFirst),
      down_since_(now),
      stranger_answered_(now - kStrangerQuiet),
      bad_mac_event_(now - kBadMacQuiet),
      downgrade_event_(now - kBadMacQuiet),
      deadline_(now) {
  renew_flow();
  // An upstream server that still holds the session of our last run flushes its
  // reorder buffer on this; else it would leak a packet for each that we send.
  if (context_.role == Role::kClient && config_.remote) {
    queue_control(PacketType::kDisconnect, *config_.remote, id_);
  }
}

const std::optional<Announcement>& Link::peer() const {
  static constexpr std::optional<Announcement> kNone;
  return flows_.current() ? flows_.current()->announcement : kNone;
}

Header Link::next_header(TimePoint now, PacketType type, std::size_t length, bool in_session) {
  if (renew_flow_ && type == PacketType::kAuth) renew_flow();
  Header h;
  h.length = static_cast<std::uint16_t>(length);
  h.type = static_cast<std::uint8_t>(type);
  h.flow_id = in_session ? keys_.current()->send_id : flow_id_;
  h.seq = in_session ? session_seq_++ : seq_++;
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
  if (type != PacketType::kData) return;
  on_data(now);
  if (!unanswered_since_ || *unanswered_since_ > now) {
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

bool Link::trusts_clear(const Header& header, const Endpoint& from) const {
  const auto& flow = flows_.current();
  return in_session() && flow && flow->rank != FlowRank::kSession && flow->id == header.flow_id &&
         flow->peer == from;
}

// Under the password's key the type is not authenticated. What each must contain, and must not, tells a
// packet that was made into another one on the way.
bool Link::is_well_formed(const Header& header, std::span<const std::uint8_t> text, bool in_session) const {
  constexpr std::size_t kProbeSize = 8;
  if (header.is(PacketType::kKeepalive)) return text.empty();
  if (header.is(PacketType::kData)) return !text.empty();
  if (header.is(PacketType::kRest)) return text.size() == kRestSize;
  if (header.is(PacketType::kProbe) || header.is(PacketType::kProbeReply)) return text.size() == kProbeSize;
  if (header.is(PacketType::kDisconnect)) return text.empty() || std::ranges::equal(text, kBye);
  if (header.is(PacketType::kAuth) || header.is(PacketType::kAuthOk))
    return !in_session && (!text.empty() || !FlowTable::time_based(header.seq));
  return true;
}

Link::Outcome Link::on_packet(TimePoint now, const Header& header, FlowTable::Place place, LinkId path,
                              const Endpoint& from, std::span<const std::uint8_t> text, Trust trust) {
  if (!is_well_formed(header, text, trust == Trust::kSession)) return Outcome::kForeign;
  if (header.is(PacketType::kAuth) || header.is(PacketType::kAuthOk)) {
    if (const auto outcome = on_session_handshake(now, header, from, text)) return *outcome;
  }
  if (place == FlowTable::Place::kReplay) return Outcome::kReplayed;
  if (place == FlowTable::Place::kRetired && !header.is(PacketType::kAuth)) return Outcome::kReplayed;

  if (place == FlowTable::Place::kUnknown || place == FlowTable::Place::kRetired)
    return on_unknown_flow(now, header, place, from, text);
  const FlowTable::Accepted accepted =
      trust == Trust::kClear ? flows_.accept_clear(now, header.seq)
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
  if (header.is(PacketType::kData)) {
    on_data(now);
    peer_rest_ = Duration::zero();
    return Outcome::kDeliver;
  }
  if (header.is(PacketType::kKeepalive)) peer_rest_ = Duration::zero();
  if (header.is(PacketType::kRest)) {
    on_rest(now, from, text);
  } else if (header.is(PacketType::kProbe)) {
    queue_control(PacketType::kProbeReply, from, id_, text);
  } else if (header.is(PacketType::kProbeReply)) {
    const std::uint64_t stamp = load_be<std::uint64_t>(text.data()) ^ probe_mask_;
    const auto sent = TimePoint(Duration(static_cast<std::int64_t>(stamp)));
    if (sent <= now && now - sent < 5s) estimator_.on_rtt(now, now - sent);
    on_answer(now);
  }
  return Outcome::kHandled;
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

void Link::on_bad_mac(TimePoint now, const Endpoint& from) {
  if (now - bad_mac_event_ < kBadMacQuiet) return;
  bad_mac_event_ = now;
  event(EventKind::kWrongPassword, fmt::format("packets from {}:{} do not open: its password is another one",
                                               to_string(from.address), from.port));
}

void Link::on_timer(TimePoint now, const Surroundings& others) {
  check_keys(now);
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
  const Duration timeout = std::max<Duration>(config_.timeout, kMinTimeout) + peer_rest_;
  if (now - heard_ > timeout) {
    end_session(now, "no packet for " + seconds(now - heard_), Duration::zero());
    needs_auth_ = false;  // the peer may still hold the session and be heard again
    return;
  }
  check_rest(now, others);
  if (now >= next_keepalive_) say_alive(now);
  // A server that restarted ignores a session that it does not know (upstream
  // says nothing at all); to one that did not, AUTH does no harm.
  const bool quiet = !refuge_ && now - heard_ > quiet_server();
  if (context_.role == Role::kClient && (quiet || proof_ != 0) && now >= next_auth_) send_auth(now);
  check_silence(now, others);
  ask_restarted_server(now, others);
  if (refuge_) try_home(now, others);
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
  if (const auto k = keys_.deadline()) at = std::min(at, *k);
  if (const auto c = flows_.candidate_deadline()) at = std::min(at, *c);
  if (state_ == LinkState::kStarting) at = std::min({at, next_auth_, next_resolve_});
  if (in_session()) {
    if (context_.role == Role::kClient)
      at = std::min(at, proof_ != 0 ? next_auth_ : std::max(heard_ + quiet_server() + 1ms, next_auth_));
    if (context_.role == Role::kClient && keys_.current() != nullptr)
      at = std::min(at, std::max(keys_.current()->made + kRekeyAfter, next_auth_));
    if (refuge_) at = std::min(at, refuge_->next);
    at = std::min(
        {at, next_keepalive_, heard_ + std::max<Duration>(config_.timeout, kMinTimeout) + peer_rest_ + 1ms});
    if (!peer_can(kCapProbe)) {
      // An upstream peer's silence is only seen by looking.
      if (state_ != LinkState::kSilent) at = std::min(at, std::max(now + 40ms, heard_ + kKeepaliveMissing));
      if (estimator_.heard_gap() < kBusyGap || unanswered_since_) at = std::min(at, now + 40ms);
    } else if (unanswered_since_) {
      const Duration interval = state_ == LinkState::kSilent ? kSilentProbe : probe_interval();
      at = std::min(at, std::max(*unanswered_since_ + probe_interval(), last_probe_ + interval));
    } else {
      at = std::min(at, std::min(heard_, answered_) + kProbeIdle + peer_rest_ + 1ms);
    }
  }
  // A deadline that nothing can be done about must not spin the loop.
  deadline_ = std::max(at, now + 1ms);
}

void Link::update(TimePoint now, const LinkConfig& config) {
  const auto remote = config.remote;
  const auto old = config_.remote;
  config_ = config;
  config_.remote = old;
  if (remote && remote != old) set_remote(now, *remote);
  update_deadline(now);
}

void Link::set_state(TimePoint now, LinkState state, std::string reason) {
  const LinkState from = state_;
  if (state == LinkState::kUp) judge_silence(now);
  if (state == LinkState::kUp && (from == LinkState::kSilent || !in_session())) estimator_.resume();
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
  out.peer_rest = peer_rest_;
  if (in_session()) {
    out.protection = keys_.current() != nullptr ? Protection::kSession : Protection::kPassword;
    if (keys_.current() != nullptr) out.key_age = now - keys_.current()->made;
  }
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
