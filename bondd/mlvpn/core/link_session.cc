// How a link comes into session and out of it: AUTH, AUTH_OK, DISCONNECT, and the flows they speak for.
#include <algorithm>

#include "bondd/mlvpn/core/link.h"
#include "bondd/mlvpn/core/link_times.h"

namespace bondd::mlvpn {
namespace {

// The same address and port, by whichever of our own addresses it came.
bool is_at(const std::optional<Endpoint>& remote, const Endpoint& from) {
  return remote && remote->address == from.address && remote->port == from.port;
}

}  // namespace

// Two links with one flow id would use the same nonces.
void Link::renew_flow() {
  renew_flow_ = false;
  std::uint32_t wanted = context_.random.next32();
  while (context_.flow_in_use && context_.flow_in_use(wanted)) wanted = context_.random.next32();
  flow_id_ = wanted;
}

void Link::send_auth(TimePoint now) {
  // The server may hold this flow for over: a recording of a run of ours took its place.
  if (state_ == LinkState::kStarting && auth_tries_ != 0 && auth_tries_ % kFlowLife == 0) renew_flow_ = true;
  const Duration fast = context_.has_sessions() ? kAuthSession : kAuthFast;
  next_auth_ = now + (auth_tries_ < kAuthFastTries ? fast : kAuthSlow);
  if (proof_ != 0)
    next_auth_ = std::min(next_auth_, now + std::max<Duration>(kProofAgain, 2 * estimator_.srtt()));
  ++auth_tries_;
  if (!config_.remote) return;
  // While the password changes nobody knows which one a silent peer has.
  const bool other_secret = context_.keys->offering() && (auth_turn_++ & 1) != 0;
  std::optional<Announcement> ours;
  std::span<const std::uint8_t> noise;
  if (context_.announce) {
    const std::uint64_t challenge = context_.random.next64();
    challenges_[challenge_count_++ % challenges_.size()] = {challenge, now};
    ours = {context_.capabilities(), context_.session, challenge};
    if (context_.has_sessions()) noise = asking(now, other_secret).message;
  }
  queue_control(PacketType::kAuth, *config_.remote, id_,
                render_handshake("AU", ours, true, proof_, noise).span(), other_secret);
}

void Link::send_auth_ok(const Endpoint& to, const Handshake& asked, std::uint64_t proof,
                        std::span<const std::uint8_t> noise) {
  std::optional<Announcement> ours;
  if (context_.announce && asked.announcement)
    ours = {context_.capabilities(), context_.session, asked.announcement->challenge};
  const bool with_proof = proof != 0 || !noise.empty();
  queue_control(PacketType::kAuthOk, to, id_, render_handshake("OK", ours, with_proof, proof, noise).span());
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

// Between two new bondds only the word that no other packet has ends a session.
Link::Outcome Link::on_disconnect(TimePoint now, bool newest, std::span<const std::uint8_t> text) {
  if (text.empty() && peer_can(kCapProof)) {
    ask_for_session(now);
    return Outcome::kForeign;
  }
  if (newest && in_session()) {
    keys_.clear();
    end_session(now, "the peer disconnected", kRetryAfterGoodbye);
  }
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
  auto said = parse_handshake(text, server ? "AU" : "OK");
  if (!said) return Outcome::kForeign;
  if (!context_.announce) said->announcement.reset();  // a bondd there takes us for the original program
  const bool known_flow = place == FlowTable::Place::kCurrent;
  // What a flow can does not become less.
  if (known_flow && peer() && !said->announcement) return Outcome::kForeign;
  if (!server) {
    if (said->announcement && !challenged_at(said->announcement->challenge)) return Outcome::kReplayed;
    // Without a challenge only the address speaks for an unknown answer.
    if (!said->announcement && !known_flow && !is_at(config_.remote, from)) return Outcome::kForeign;
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
  if (server && context_.announce && said.can(kCapProof)) {
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
  // A client that goes on asking does so because it hears nothing.
  if (context_.role == Role::kClient || new_flow) on_answer(now);
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

std::optional<TimePoint> Link::challenged_at(std::uint64_t value) const {
  const auto end = challenges_.begin() + std::min<std::ptrdiff_t>(challenge_count_, std::ssize(challenges_));
  const auto found =
      std::find_if(challenges_.begin(), end, [&](const Challenge& c) { return c.value == value; });
  return found == end ? std::nullopt : std::optional(found->sent);
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

void Link::disconnect(TimePoint now) {
  control_.clear();
  if (in_session()) {
    if (const auto to = destination()) send_disconnect(*to, carrier());
    end_session(now, "switched off", std::chrono::hours(24 * 365));
  }
}

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
  rests_ = may_rest_ = false;
  peer_rest_ = Duration::zero();
  set_state(now, context_.role == Role::kClient ? LinkState::kStarting : LinkState::kDown, std::move(reason));
}

}  // namespace bondd::mlvpn
