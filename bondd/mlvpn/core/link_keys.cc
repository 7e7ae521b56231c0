// How a link gets session keys (session/hello.h), and new ones.
//
//   client                                        server
//   AUTH    hello: e, time, ids          ------>  read; nothing changes but an offer, see SessionKeys
//   AUTH_OK reply: e, ids                <------
//   keys in use; KEEPALIVE under them    ------>  the offer is the session's keys now
//
// A hello whose time is not newer than before, and any beyond some a second, is answered by a number that
// the client has to show: a recording cannot, and a client whose clock was set back can.
#include <algorithm>

#include "bondd/mlvpn/core/link.h"
#include "bondd/mlvpn/core/link_times.h"

namespace bondd::mlvpn {
namespace {

std::span<const std::uint8_t> prologue() {
  return {reinterpret_cast<const std::uint8_t*>(kSessionPrologue.data()), kSessionPrologue.size()};
}

Noise make_noise(Noise::Side side, const KeyRing& keys, const SecretKey& psk, NoiseKey fresh) {
  std::optional<NoiseStatics> statics;
  if (const auto& pair = keys.pair())
    statics = NoiseStatics{pair->own_private.span(), std::span(pair->peer_public)};
  return {statics ? NoisePattern::kKKpsk0 : NoisePattern::kNNpsk0,
          side,
          prologue(),
          std::span<const std::uint8_t, 32>(psk.data(), 32),
          std::move(fresh),
          statics};
}

SecretBox box_of(const NoiseKey& key) {
  return SecretBox(SecretKey::from_bytes(key.span()));
}

}  // namespace

std::uint32_t Link::new_receive_id() {
  std::uint32_t id = context_.random.next32();
  while (id == 0 || context_.receive_id_in_use(id)) id = context_.random.next32();
  return id;
}

// The same question until it is answered or old: a late answer is as good.
const Link::Asking& Link::asking(TimePoint now, bool other_secret) {
  if (asking_ && now - asking_->since < kHelloLife && asking_->other_secret == other_secret) return *asking_;
  const auto age = std::chrono::duration_cast<std::chrono::microseconds>(now - context_.started).count();
  const Session* const session = keys_.current();
  asking_ = Asking{.fresh = context_.random.fresh_key(),
                   .hello = {.time_us = context_.wall_clock_us + static_cast<std::uint64_t>(age),
                             .receive_id = new_receive_id(),
                             .continues = session != nullptr ? session->receive_flow : 0,
                             .capabilities = context_.capabilities(),
                             .name = name_hash(config_.name)},
                   .message = {},
                   .since = now,
                   .other_secret = other_secret};
  const SecretKey* const other = other_secret ? context_.keys->other_psk() : nullptr;
  Noise noise =
      make_noise(Noise::Side::kInitiator, *context_.keys, other != nullptr ? *other : *context_.keys->psk(),
                 NoiseKey(std::as_const(asking_->fresh).span()));
  noise.write(render_hello(asking_->hello), asking_->message);
  return *asking_;
}

std::optional<Link::Outcome> Link::on_session_handshake(TimePoint now, const Header& header,
                                                        const Endpoint& from,
                                                        std::span<const std::uint8_t> text) {
  const bool server = context_.role == Role::kServer;
  if (!header.is(server ? PacketType::kAuth : PacketType::kAuthOk)) return std::nullopt;
  const auto said = parse_handshake(text, server ? "AU" : "OK");
  if (!said) return std::nullopt;
  if (const std::string fault = fault_of_peer(*said); !fault.empty()) return refuse_peer(now, from, fault);
  if (!context_.has_sessions() || !said->can(kCapSession)) return std::nullopt;
  return server ? on_hello(now, header, from, *said) : on_reply(now, from, *said);
}

std::string Link::fault_of_peer(const Handshake& said) const {
  const std::string less = "says that it is the original program or an older bondd, ";
  if (!context_.has_sessions() || !said.can(kCapSession)) {
    if (context_.peer_proved) return less + "after it was one with session keys";
    if (context_.peer_kind == EngineConfig::Peer::kBondd) return less + "and peer = \"bondd\" in [mlvpn]";
    return {};
  }
  const bool ours = context_.keys->pair().has_value();
  if (said.can(kCapKeyPair) == ours) return {};
  return ours ? "has no key_file in [mlvpn], and this end has one"
              : "has a key_file in [mlvpn], and this end has none";
}

Link::Outcome Link::refuse_peer(TimePoint now, const Endpoint& from, const std::string& why) {
  if (!in_session() && now - downgrade_event_ >= kBadMacQuiet) {
    downgrade_event_ = now;
    reason_ = fmt::format("{}:{} {}", to_string(from.address), from.port, why);
    event(EventKind::kDowngrade, reason_);
  }
  return Outcome::kForeign;
}

// ------------------------------------------------------------------ server

// A question of one line that somebody carried to another one; or the names are the wrong way round in one
// of the files: then nobody else asks here.
bool Link::is_of_other_line(TimePoint now, const Hello& hello) {
  const std::string other = context_.other_link_named(hello.name, id_);
  if (other.empty()) return false;
  if (in_session()) return keys_.current() == nullptr || keys_.current()->name != hello.name;
  if (!misnamed_since_) misnamed_since_ = now;
  reason_ = "the other end calls this line " + other + ", which is another one here: ports or names differ";
  return now - *misnamed_since_ < kMisnamedPatience;
}

Link::Outcome Link::on_hello(TimePoint now, const Header& header, const Endpoint& from,
                             const Handshake& said) {
  if (said.noise.empty()) return Outcome::kForeign;
  SessionKeys::PublicKey client;
  std::copy_n(said.noise.begin(), client.size(), client.begin());
  if (const auto* reply = keys_.reply_to(client)) {
    send_auth_ok(from, said, 0, *reply);
    return Outcome::kHandled;
  }
  const std::uint64_t number = proofs_.number(header.flow_id);
  const bool proven = said.proof == number;
  const auto ask_for_proof = [&] {
    send_auth_ok(from, said, number);
    return Outcome::kHandled;
  };
  if (!proven && !handshakes_.take(now)) return ask_for_proof();
  std::vector<std::uint8_t> payload;
  for (const SecretKey* psk : {context_.keys->psk(), context_.keys->other_psk()}) {
    if (psk == nullptr) continue;
    Noise noise = make_noise(Noise::Side::kResponder, *context_.keys, *psk, context_.random.fresh_key());
    if (!noise.read(said.noise, payload)) continue;
    const auto hello = parse_hello(payload);
    if (!hello || hello->capabilities != said.announcement->capabilities || is_of_other_line(now, *hello))
      return Outcome::kForeign;
    if (!proven && hello->time_us <= last_hello_us_) return ask_for_proof();
    return offer_session(now, from, said, *hello, proven, noise);
  }
  if (!context_.keys->pair()) return Outcome::kForeign;
  return refuse_peer(now, from, "has the password, but not the key that key_file says");
}

Link::Outcome Link::offer_session(TimePoint now, const Endpoint& from, const Handshake& said,
                                  const Hello& hello, bool proven, Noise& noise) {
  last_hello_us_ = std::max(last_hello_us_, hello.time_us);
  const Session* const session = keys_.current();
  const bool same = session != nullptr && hello.continues != 0 && hello.continues == session->send_flow &&
                    said.announcement->session == session->peer.session;
  const Hello reply{.receive_id = new_receive_id(),
                    .continues = same ? session->receive_flow : 0,
                    .capabilities = context_.capabilities(),
                    .name = name_hash(config_.name)};
  std::vector<std::uint8_t> message;
  if (!noise.write(render_reply(reply), message)) return Outcome::kForeign;
  const NoiseKeys keys = noise.split();
  send_auth_ok(from, said, 0, message);
  SessionKeys::PublicKey client;
  std::copy_n(said.noise.begin(), client.size(), client.begin());
  keys_.offer(now, client, std::move(message),
              {.receive_id = reply.receive_id,
               .send_id = hello.receive_id,
               .receive_flow = same ? session->receive_flow : reply.receive_id,
               .send_flow = same ? session->send_flow : hello.receive_id,
               .opens = box_of(keys.from_initiator),
               .seals = box_of(keys.from_responder),
               .made = now,
               .peer = *said.announcement,
               .name = hello.name,
               .proven = proven});
  update_deadline(now);
  return Outcome::kHandled;
}

void Link::on_opened(TimePoint now, std::uint32_t receive_id, const Endpoint& from) {
  if (keys_.is_offered(receive_id)) {
    auto offered = keys_.take_offer(receive_id);
    if (offered->proven) proofs_.used();
    const Session* const session = keys_.current();
    const bool same = session != nullptr && session->receive_flow == offered->receive_flow;
    begin_session(now, std::move(*offered), same, from);
  }
  keys_.on_heard(now, receive_id);
}

// ------------------------------------------------------------------ client

Link::Outcome Link::on_reply(TimePoint now, const Endpoint& from, const Handshake& said) {
  const auto asked = challenged_at(said.announcement->challenge);
  if (!asked) return Outcome::kReplayed;
  if (!asking_) return Outcome::kHandled;  // a second answer
  if (said.noise.empty()) {
    if (said.proof == 0) return Outcome::kForeign;
    const bool again = said.proof == proof_;  // sent again already
    proof_ = said.proof;
    if (!again) send_auth(now);
    update_deadline(now);
    return Outcome::kHandled;
  }
  Hello reply;
  auto keys = read_reply(said.noise, reply);
  if (!keys || reply.capabilities != said.announcement->capabilities) return Outcome::kForeign;
  const Session* const session = keys_.current();
  const Hello& hello = asking_->hello;
  const bool same = session != nullptr && hello.continues != 0 && hello.continues == session->receive_flow &&
                    reply.continues == session->send_flow;
  begin_session(now,
                {.receive_id = hello.receive_id,
                 .send_id = reply.receive_id,
                 .receive_flow = same ? session->receive_flow : hello.receive_id,
                 .send_flow = same ? session->send_flow : reply.receive_id,
                 .opens = box_of(keys->from_responder),
                 .seals = box_of(keys->from_initiator),
                 .made = now,
                 .peer = *said.announcement},
                same, from);
  asking_.reset();
  proof_ = 0;
  if (now - *asked < std::chrono::milliseconds(kMaxSample)) estimator_.on_rtt(now, now - *asked);
  return Outcome::kHandled;
}

// The answer may be to an earlier question: then this one still waits for its own.
std::optional<NoiseKeys> Link::read_reply(std::span<const std::uint8_t> noise, Hello& reply) {
  std::vector<std::uint8_t> message, payload;
  for (const SecretKey* psk : {context_.keys->psk(), context_.keys->other_psk()}) {
    if (psk == nullptr) continue;
    Noise again = make_noise(Noise::Side::kInitiator, *context_.keys, *psk,
                             NoiseKey(std::as_const(asking_->fresh).span()));
    again.write(render_hello(asking_->hello), message);
    if (message != asking_->message || !again.read(noise, payload)) continue;
    const auto parsed = parse_reply(payload);
    if (!parsed) return std::nullopt;
    reply = *parsed;
    return again.split();
  }
  return std::nullopt;
}

// ------------------------------------------------------------------ both

void Link::begin_session(TimePoint now, Session session, bool same_flow, const Endpoint& from) {
  const Announcement peer = session.peer;
  const std::uint32_t flow = session.receive_flow;
  keys_.use(now, std::move(session), same_flow);
  context_.peer_proved = true;
  context_.peer_session = peer.session;
  needs_auth_ = false;
  misnamed_since_.reset();
  auth_tries_ = 0;
  heard_ = now;
  if (!same_flow) {
    flows_.begin_session(now, flow, from, peer);
    flow_switched();
  } else if (context_.role == Role::kClient) {
    flows_.move_current(from);  // our own address may be another one since the last packet of the flow
  }
  on_answer(now);
  next_keepalive_ = now;  // tells the other end that the keys are in use
  if (!in_session()) set_state(now, LinkState::kUp, "connected");
  update_deadline(now);
}

void Link::check_keys(TimePoint now) {
  if (asking_ && now - asking_->since >= kHelloLife) asking_.reset();
  if (keys_.expire(now) && in_session()) {
    end_session(now, "the session's keys are 180 s old, and the other end agrees on no new ones",
                Duration::zero());
  }
  const bool client = context_.role == Role::kClient;
  if (client && in_session() && keys_.current() != nullptr && now - keys_.current()->made >= kRekeyAfter &&
      now >= next_auth_) {
    send_auth(now);
  }
}

// A server that restarted can read nothing of a session, and tells so to nobody whom it does not know.
void Link::ask_restarted_server(TimePoint now, const Surroundings& others) {
  if (context_.role != Role::kClient || keys_.current() == nullptr || now < next_auth_) return;
  const auto by_silence = [&] {
    if (!first_probe_ || probes_ < 3) return false;
    const bool others_answer = others.other && others.other_heard >= *first_probe_;
    return !others_answer && now - *first_probe_ >= silence_limit() + estimator_.srtt();
  };
  const bool another_link_met_the_next = keys_.current()->peer.session != context_.peer_session;
  if (another_link_met_the_next || by_silence()) send_auth(now);
}

}  // namespace bondd::mlvpn
