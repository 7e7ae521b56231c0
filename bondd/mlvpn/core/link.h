// One link: its session with the peer, who the peer is, and when to say what.
//
//            client: AUTH each 0.5 to 1 s            nothing heard for `timeout`,
//   kStarting ------------------------------> kUp     DISCONNECT
//   kDown    ---- server: AUTH comes ------->  |  ----------------------> kStarting/kDown
//                                              |-- loss above tolerance -> kLossy  -> kUp
//                                              |-- RTT above tolerance --> kSlow   -> kUp
//                                              |-- no answer while others
//                                              |   answer --------------> kSilent -> kUp
//
// An upstream server learns the address of each packet that it gets. So a silent link is
// re-homed: a client keeps its session by another link's line, and what the server goes on
// sending for it arrives. The own line is tried again by an AUTH, which moves the server back.
//
// A link never sends by itself: it leaves control packets in `control()` for
// poll_transmit, and events in the engine's queue.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "bondd/mlvpn/core/capability.h"
#include "bondd/mlvpn/core/engine.h"
#include "bondd/mlvpn/core/estimator.h"
#include "bondd/mlvpn/core/flow_table.h"
#include "bondd/mlvpn/core/handshake.h"
#include "bondd/mlvpn/core/key_ring.h"
#include "bondd/mlvpn/core/random.h"
#include "bondd/mlvpn/core/ring.h"
#include "bondd/mlvpn/core/session_keys.h"
#include "bondd/mlvpn/core/wire.h"

namespace bondd::mlvpn {

// What all links of an engine share.
struct LinkContext {
  Role role = Role::kClient;
  bool announce = true;
  bool clear_data = false;
  EngineConfig::Peer peer_kind = EngineConfig::Peer::kAuto;
  const KeyRing* keys = nullptr;
  std::uint64_t wall_clock_us = 0;  // time of day at `started`
  TimePoint started;
  bool peer_proved = false;        // once had session keys: then nothing less is the peer
  std::uint64_t peer_session = 0;  // the peer's run that the newest keys were agreed on with
  Random random;
  std::uint64_t session = 0;  // of this engine, in our announcement
  TimePoint epoch;            // zero of the wire's millisecond clock
  std::deque<LinkEvent> events;
  std::function<bool(std::uint32_t)> flow_in_use;  // by another of our links: would use its nonces
  std::function<bool(std::uint32_t)> receive_id_in_use;
  // Another link that the file gives this name, see name_hash(); empty: none.
  std::function<std::string(std::uint64_t, LinkId)> other_link_named;

  [[nodiscard]] bool has_sessions() const { return announce && keys->psk() != nullptr; }
  [[nodiscard]] std::uint32_t capabilities() const {
    return kOurCapabilities | (has_sessions() ? std::uint32_t{kCapSession} : 0U) |
           (clear_data ? std::uint32_t{kCapClearData} : 0U) |
           (keys->pair() ? std::uint32_t{kCapKeyPair} : 0U);
  }

  explicit LinkContext(const std::array<std::uint8_t, 32>& seed) : random(seed) {}
};

// A packet of a link's own, waiting for poll_transmit.
struct ControlPacket {
  PacketType type = PacketType::kKeepalive;
  Endpoint to;
  LinkId path = 0;  // the socket it leaves by
  std::uint8_t size = 0;
  std::array<std::uint8_t, kMaxHandshake> body{};
  bool new_key = false;  // sealed under the password's key that waits for the peer, see KeyRing
};

// What a link is told about the others when its timer runs.
struct Surroundings {
  // The link heard most recently, other than this one and in session.
  std::optional<LinkId> other;
  std::string_view other_name;
  TimePoint other_heard;
  std::uint64_t others_received = 0;  // packets of all the other links so far
  bool reachable = false;             // `other`'s socket can reach this link's peer (same family)
  bool carrier_lives = false;         // the link by whose line this one is kept
};

// In the order of its meaning, not of sizes: there are a dozen of them.
class Link {  // NOLINT(clang-analyzer-optin.performance.Padding)
 public:
  Link(TimePoint now, LinkId id, const LinkConfig& config, LinkContext& context, std::uint64_t first_seq);

  // --- sending
  // The header of the next packet: takes a sequence number and the echo.
  // `length` is the body's with its MAC. `in_session`: it goes under the session's keys.
  Header next_header(TimePoint now, PacketType type, std::size_t length, bool in_session = false);
  // Where this link's data goes; empty when nobody is known there yet.
  [[nodiscard]] std::optional<Endpoint> destination() const;
  void on_sent(TimePoint now, PacketType type, std::size_t datagram_bytes);
  [[nodiscard]] Ring<ControlPacket>& control() { return control_; }
  [[nodiscard]] const Ring<ControlPacket>& control() const { return control_; }

  // --- receiving
  // `in_session`: it came under the session's keys; `header` then names the flow, not the wire's id.
  [[nodiscard]] FlowTable::Place place_of(const Header& header, bool in_session) const {
    return flows_.find(header.flow_id, header.seq, in_session);
  }
  // Whether the flow spoke on this link: then it is foreign on all others.
  [[nodiscard]] bool knows_flow(std::uint32_t flow_id) const { return flows_.knows(flow_id); }
  // In clear mode: whether DATA may come from there without a MAC.
  [[nodiscard]] bool trusts_clear(const Header& header, const Endpoint& from) const;
  enum class Outcome : std::uint8_t { kHandled, kDeliver, kReplayed, kForeign };
  // A packet whose MAC was right, that came to `path`'s socket. `text` is its plaintext.
  // What speaks for a packet: session keys, the password's key, or (DATA that trusts_clear() let in) nothing.
  enum class Trust : std::uint8_t { kSession, kPassword, kClear };
  Outcome on_packet(TimePoint now, const Header& header, FlowTable::Place place, LinkId path,
                    const Endpoint& from, std::span<const std::uint8_t> text, Trust trust);
  // The peer reported that packets of this link arrived.
  void on_report(TimePoint now) { on_answer(now); }
  // A packet that did not open, from `from`. At most one event in 10 s.
  void on_unopened() { estimator_.on_unopened(); }
  void on_bad_mac(TimePoint now, const Endpoint& from);

  // --- session keys
  // What opens packets with this id on the wire, and the flow that they belong to; null: nothing.
  SecretBox* opener(TimePoint now, std::uint32_t receive_id, std::uint32_t& flow) {
    return keys_.opener(now, receive_id, flow);
  }
  // A packet with this id was opened. Offered keys are the session's from now on.
  void on_opened(TimePoint now, std::uint32_t receive_id, const Endpoint& from);
  // Under which all but AUTH and AUTH_OK leaves; null: under the password's key.
  [[nodiscard]] Session* session() { return keys_.current(); }
  [[nodiscard]] bool uses_receive_id(std::uint32_t id) const { return keys_.uses(id); }

  // --- time
  void on_timer(TimePoint now, const Surroundings& others);
  [[nodiscard]] TimePoint deadline() const { return deadline_; }
  void update_deadline(TimePoint now);

  // Since when probes are unanswered, when an answer is overdue but that is not
  // yet taken for silence.
  [[nodiscard]] std::optional<TimePoint> suspect_since(TimePoint now) const;
  // The next keepalive is not due before `duration`: another packet has just told as much,
  // or more is learned from silence.
  void keep_quiet(TimePoint now, Duration duration) {
    next_keepalive_ = std::max(next_keepalive_, now + duration);
  }
  // Asks the peer to answer, though nothing suggests that it would not.
  void probe_idle(TimePoint now);

  // --- configuration
  void update(TimePoint now, const LinkConfig& config);
  void set_remote(TimePoint now, const Endpoint& remote);
  void on_path_failed(TimePoint now, const std::string& why, const Surroundings& others);
  // Queues DISCONNECT and ends the session.
  void disconnect(TimePoint now);
  void queue_control(PacketType type, const Endpoint& to, LinkId path,
                     std::span<const std::uint8_t> body = {}, bool new_key = false);

  // --- facts
  [[nodiscard]] LinkId id() const { return id_; }
  // By whose line the link's own packets leave: another one's while it is re-homed.
  [[nodiscard]] LinkId carrier() const { return refuge_ ? refuge_->carrier : id_; }
  [[nodiscard]] const LinkConfig& config() const { return config_; }
  [[nodiscard]] LinkState state() const { return state_; }
  [[nodiscard]] bool in_session() const { return state_ >= LinkState::kUp; }
  // What the peer's reports call our packets.
  [[nodiscard]] std::uint32_t flow_id() const {
    return keys_.current() != nullptr ? keys_.current()->send_flow : flow_id_;
  }
  // Of our packets under the password's key.
  [[nodiscard]] std::uint32_t password_flow_id() const { return flow_id_; }
  [[nodiscard]] const Estimator& estimator() const { return estimator_; }
  [[nodiscard]] const FlowTable& flows() const { return flows_; }
  [[nodiscard]] TimePoint heard() const { return heard_; }
  // What the peer's flow announced: it belongs to the flow, and goes with it.
  [[nodiscard]] const std::optional<Announcement>& peer() const;
  [[nodiscard]] bool peer_can(Capability c) const { return peer() && (peer()->capabilities & c) != 0; }
  [[nodiscard]] std::uint64_t received_packets() const { return rx_packets_; }
  // Counts the changes of the peer's flow; the reordering starts anew with them.
  [[nodiscard]] unsigned flow_generation() const { return flow_generation_; }
  // Whether clear DATA before the last packet was found to be forged, once.
  bool take_forged() { return std::exchange(forged_, false); }
  // The round trip that the last packet's echo gave, once.
  std::optional<Duration> take_echo() { return std::exchange(echo_, std::nullopt); }
  void fill(TimePoint now, LinkStats& out) const;

 private:
  friend struct SessionInspector;
  // Where a silent link's session is kept, and when its own line is tried next.
  struct Refuge {
    LinkId carrier = 0;
    unsigned repeats = 0;  // of the keepalive that tells the server, which may get lost
    bool trying = false;   // an AUTH went by the own line
    TimePoint tried, next;
    Duration interval;
  };

  void set_state(TimePoint now, LinkState state, std::string reason);
  void judge_silence(TimePoint now);
  void event(EventKind kind, std::string reason);
  void established(TimePoint now, const Endpoint& from, const Handshake& said, bool new_flow);
  void end_session(TimePoint now, std::string reason, Duration retry_after);
  void flow_switched();
  void send_auth(TimePoint now);
  void send_auth_ok(const Endpoint& to, const Handshake& asked, std::uint64_t proof = 0,
                    std::span<const std::uint8_t> noise = {});
  void send_disconnect(const Endpoint& to, LinkId path);
  void renew_flow();
  void ask_for_session(TimePoint now);
  // link_keys.cc
  struct Asking;
  const Asking& asking(TimePoint now, bool other_secret);
  [[nodiscard]] std::uint32_t new_receive_id();
  std::optional<Outcome> on_session_handshake(TimePoint now, const Header& header, const Endpoint& from,
                                              std::span<const std::uint8_t> text);
  Outcome on_hello(TimePoint now, const Header& header, const Endpoint& from, const Handshake& said);
  Outcome offer_session(TimePoint now, const Endpoint& from, const Handshake& said, const Hello& hello,
                        bool proven, Noise& noise);
  Outcome on_reply(TimePoint now, const Endpoint& from, const Handshake& said);
  std::optional<NoiseKeys> read_reply(std::span<const std::uint8_t> noise, Hello& reply);
  void begin_session(TimePoint now, Session session, bool same_flow, const Endpoint& from);
  [[nodiscard]] bool is_of_other_line(TimePoint now, const Hello& hello);
  // What such an end is, in words, if it is less than it was, or another one than the file says.
  [[nodiscard]] std::string fault_of_peer(const Handshake& said) const;
  Outcome refuse_peer(TimePoint now, const Endpoint& from, const std::string& why);
  void check_keys(TimePoint now);
  void ask_restarted_server(TimePoint now, const Surroundings& others);

  void on_heard(TimePoint now, const Header& header, bool by_own_line);
  void on_answer(TimePoint now);
  Outcome on_known_flow(TimePoint now, const Header& header, LinkId path, const Endpoint& from,
                        std::span<const std::uint8_t> text);
  Outcome on_unknown_flow(TimePoint now, const Header& header, FlowTable::Place place, const Endpoint& from,
                          std::span<const std::uint8_t> text);
  Outcome on_disconnect(TimePoint now, bool newest, std::span<const std::uint8_t> text);
  Outcome on_handshake(TimePoint now, const Header& header, const Endpoint& from,
                       std::span<const std::uint8_t> text, FlowTable::Place place);
  bool admit_flow(TimePoint now, const Header& header, const Endpoint& from, const Handshake& said,
                  FlowTable::Place place, Outcome& outcome);
  [[nodiscard]] bool is_well_formed(const Header& header, std::span<const std::uint8_t> text,
                                    bool in_session) const;
  void check_session(TimePoint now, const Surroundings& others);
  void check_silence(TimePoint now, const Surroundings& others);
  void send_probe(TimePoint now);
  // An original server: AUTH is the only question that it answers at once.
  [[nodiscard]] bool is_asked_by_auth() const { return context_.role == Role::kClient && !peer(); }
  void ask_server(TimePoint now, const Surroundings& others);
  void check_tolerances(TimePoint now);
  // link_rest.cc
  void say_alive(TimePoint now);
  [[nodiscard]] Duration rest_gap() const;
  void say_rest(TimePoint now, const Endpoint& to, bool question);
  void on_rest(TimePoint now, const Endpoint& from, std::span<const std::uint8_t> text);
  void check_rest(TimePoint now, const Surroundings& others);
  void on_data(TimePoint now);
  void go_silent(TimePoint now, std::string reason, const Surroundings& others);
  void take_refuge(TimePoint now, LinkId carrier);
  void try_home(TimePoint now, const Surroundings& others);
  [[nodiscard]] Duration quiet_server() const;
  [[nodiscard]] Duration probe_interval() const;
  [[nodiscard]] Duration silence_limit() const;
  // When the AUTH left that had this challenge; empty: none of the last ones had.
  [[nodiscard]] std::optional<TimePoint> challenged_at(std::uint64_t value) const;

  LinkId id_;
  LinkConfig config_;
  LinkContext& context_;
  LinkState state_;
  std::string reason_;
  FlowTable flows_;
  unsigned flow_generation_ = 0;
  Estimator estimator_;
  Ring<ControlPacket> control_{32};

  std::uint32_t flow_id_;
  std::uint64_t seq_;          // of packets under the password's key
  std::uint64_t session_seq_;  // of the others; never starts again, so that keys may follow each other
  struct Challenge {
    std::uint64_t value = 0;
    TimePoint sent;
  };
  // Of our last AUTHs: as many as leave in kHelloLife, 10 in the first 2.5 s, then one a second.
  std::array<Challenge, 32> challenges_{};
  unsigned challenge_count_ = 0;
  bool renew_flow_ = false;       // with the next AUTH
  ProofMaker proofs_;             // a server's, for flows that it does not know
  std::uint64_t proof_ = 0;       // a client's: the server's number that AUTH is to show
  std::uint64_t probe_mask_ = 0;  // over the time in our probes: only their answer shows it
  TimePoint asked_at_;            // for a session, at the word of a DISCONNECT
  bool forged_ = false;

  SessionKeys keys_;
  // A client's question for keys that has no answer yet.
  struct Asking {
    NoiseKey fresh;
    Hello hello;
    std::vector<std::uint8_t> message;
    TimePoint since;
    bool other_secret = false;
  };
  std::optional<Asking> asking_;
  unsigned auth_turn_ = 0;           // while the password changes, AUTH tries both in turn
  std::uint64_t last_hello_us_ = 0;  // of the peer's clock: what is not newer may be a recording
  HandshakeLimit handshakes_;
  std::optional<TimePoint> misnamed_since_;  // asked with the name of another link, and by nobody else

  // Only AUTH brings the session back: after a DISCONNECT of either side.
  bool needs_auth_ = true;
  std::uint16_t peer_timestamp_ = kNoTimestamp;  // to be echoed
  TimePoint peer_timestamp_at_;

  std::optional<Duration> echo_;
  TimePoint heard_;                            // any authenticated packet
  TimePoint answered_;                         // what showed that our packets arrive
  std::optional<TimePoint> unanswered_since_;  // first DATA or probe sent after the last answer
  std::optional<TimePoint> first_probe_;
  unsigned probes_ = 0;
  TimePoint last_probe_;
  std::uint64_t others_received_at_heard_ = 0;
  TimePoint others_mark_for_;  // the `heard_` that the line above belongs to

  // While nothing needs this link it says a word each kRestGap only.
  bool may_rest_ = false, rests_ = false;
  Duration peer_rest_{};  // until the peer's next word at most, beyond the usual second
  TimePoint data_at_;     // the last DATA in either direction

  std::optional<Refuge> refuge_;
  TimePoint silent_since_{}, false_alarm_at_{};
  unsigned false_alarms_ = 0;
  TimePoint asked_in_vain_at_{};
  unsigned asked_in_vain_ = 0;

  TimePoint next_auth_, next_keepalive_, next_tick_, next_resolve_, down_since_;
  unsigned auth_tries_ = 0;
  TimePoint stranger_answered_, bad_mac_event_, downgrade_event_;
  TimePoint deadline_;

  std::uint64_t rx_bytes_ = 0, tx_bytes_ = 0, rx_packets_ = 0, tx_packets_ = 0, disconnects_ = 0;
};

}  // namespace bondd::mlvpn
