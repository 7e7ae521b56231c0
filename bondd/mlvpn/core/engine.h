// The MLVPN engine without any input or output: bytes and time go in, bytes and
// the next deadline come out. No system call, no clock, no allocation per
// packet once warm. Not thread-safe: one thread owns an engine.
//
//   tun --handle_packets--> [ingress] --schedule, seal--> poll_transmit --> UDP
//   UDP --handle_datagrams--> open, replay, reorder --> poll_deliver --> tun
//
// One turn of the owner's loop, with one `now` for all of it:
//
//   for every readable socket:  handle_datagrams(now, path, runs)
//   while poll_deliver(out):    write to tun; recycle(out)
//   end_round()                 from here on the receive memory may be reused
//   while packet_budget() and tun readable: fill buffers of pool(); handle_packets
//   if poll_timeout() <= now:   handle_timeout(now)
//   while poll_deliver(out):    (a timeout may have released packets)
//   while poll_transmit(now, t): send t; recycle(t.packets)
//   while poll_event():         tell the daemon
//   sleep until poll_timeout() or a descriptor
//
// Ownership of packets: handle_packets takes the pool buffers it is given, for
// good. What poll_deliver and poll_transmit yield belongs to the caller until
// recycle. Inbound packets may point into the memory given to handle_datagrams
// (PacketRef::borrowed); those live until end_round, which copies whatever must
// still wait behind a gap.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/crypto.h"
#include "bondd/mlvpn/core/packet.h"
#include "bondd/mlvpn/core/types.h"
#include "bondd/mlvpn/line/tuning.h"

namespace bondd::mlvpn {

class BrainTrace;

// Datagrams that came from one sender in one receive: a UDP_GRO message, or a
// single one (segment == bytes.size()). All have `segment` bytes, the last may
// have fewer. The memory is changed (decryption in place).
struct ReceivedRun {
  Endpoint from;
  std::span<std::uint8_t> bytes;
  std::uint32_t segment = 0;
};

// Sealed datagrams to send with one call: all go from one socket to one
// address; all have the size of the first, the last may be shorter (the rule of
// UDP_SEGMENT). At most 64 packets and 65000 bytes. `packets` lives until the
// next poll_transmit, the packets until recycle.
struct Transmit {
  LinkId link = 0;  // whose packets they are
  LinkId path = 0;  // whose socket they leave by; another's when `link` is re-homed
  Endpoint to;
  std::span<const PacketRef> packets;
};

// What a link is doing.
//   kDown      no session; a server waits for AUTH, or the link is disabled
//   kStarting  a client sends AUTH and waits
//   kUp        carries traffic
//   kLossy     session alive, loses more than loss_tolerance: spared
//   kSlow      session alive, RTT above latency_tolerance: spared
//   kSilent    nothing heard though it should have been: no data goes there
enum class LinkState : std::uint8_t { kDown, kStarting, kUp, kLossy, kSlow, kSilent };
const char* to_string(LinkState state);

inline constexpr std::size_t kMaxNotice = 1200;  // bytes; with all around it, it fits each line

enum class EventKind : std::uint8_t {
  kState,          // the link's state changed: see `state` and `reason`
  kPeerMoved,      // the peer's address changed (NAT rebinding, roaming)
  kResolve,        // the peer does not answer: look its name up again, then set_remote
  kWrongPassword,  // packets come that do not open; at most one event per 10 s and link
  kDowngrade,      // the other end is less than it proved, or another one, and is refused; as rare
  kNotice,         // the peer's daemon tells `reason`, see set_notice(); at most one event per second
};

struct LinkEvent {
  EventKind kind = EventKind::kState;
  LinkId link = 0;
  LinkState from = LinkState::kDown;
  LinkState state = LinkState::kDown;
  std::string reason;  // for a person: "nothing heard for 3.0 s"
};

struct LinkConfig {
  std::string name;
  std::optional<Endpoint> remote{};             // client: the server's address, once resolved; server: empty
  Rate upload{};                                // 0: not known; else an upper bound, also the weight
  double weight = 0;                            // 0: from `upload`, else from measured capacity
  bool fallback_only = false;                   // only used when no other link can be
  Duration timeout = std::chrono::seconds(30);  // without any packet: the link is down; at least 2 s
  double loss_tolerance = 100;                  // percent; 100: off
  Duration latency_tolerance = Duration::zero();  // zero: off

  bool operator==(const LinkConfig&) const = default;
};

struct EngineConfig {
  Role role = Role::kClient;
  DeviceKind device = DeviceKind::kTun;
  // DATA is not enciphered. With session keys only where both ends say so, and under a MAC; else both must.
  bool clear_data = false;
  bool reorder = true;  // off: deliver as it comes
  // Upper bound of a packet's wait behind a hole, whatever was measured.
  Duration max_reorder_wait = std::chrono::milliseconds(800);
  // CLOCK_REALTIME in microseconds at construction: the base of all sequence
  // numbers, so that no nonce returns after a restart. Never read again.
  std::uint64_t wall_clock_us = 0;
  std::array<std::uint8_t, 32> seed{};  // from getrandom(2); a fixed one makes runs repeatable
  std::size_t pool_buffers = 8192;      // of 2 KiB each
  std::size_t ingress_packets = 512;    // full ones that may wait for links that are alike, upstream peer
  std::size_t reorder_packets = 4096;   // bound of what waits behind holes
  bool repair = true;                   // send again what got lost, towards a bondd peer
  bool announce = true;                 // tell a bondd peer what we can; upstream ignores it
  // Who the peer is. kAuto: whoever it says, but never less than it once proved in this engine's life.
  // kBondd: one with session keys. kOriginal: the original program, as without `announce`.
  enum class Peer : std::uint8_t { kAuto, kBondd, kOriginal } peer = Peer::kAuto;
  bool peer_proved = false;         // had session keys, in an earlier engine's life
  const Tuning* tuning = &kTuning;  // not owned; as the brain decides about lines
  BrainTrace* trace = nullptr;      // not owned; null in the product
};

// What keeps others from reading and changing what a link carries.
//   kNone      nothing is known of the peer yet, or (clear data) not much
//   kPassword  the one key of the password, for all time; the header is open to changes
//   kSession   keys of this session and link
enum class Protection : std::uint8_t { kNone, kPassword, kSession };

// Counters and figures of a link since it was added. What is not known is empty.
struct LinkStats {
  LinkId id = 0;
  std::string name;
  LinkState state = LinkState::kDown;
  std::string reason;  // of the last change of state
  bool peer_is_bondd = false;
  Protection protection = Protection::kNone;
  std::optional<Duration> key_age;  // of session keys
  std::optional<Endpoint> peer;
  LinkId path = 0;
  std::optional<double> rtt_ms, rtt_var_ms;
  std::optional<double> loss_percent;            // of what the peer sent to us
  std::optional<Rate> capacity;                  // as measured, or as configured; never a guess
  std::optional<double> queue_ms;                // that we keep in front of the line
  std::optional<double> tx_loss_percent;         // of what we sent, as the peer reports
  std::uint64_t repaired = 0;                    // packets lost here and sent again
  std::optional<std::size_t> longest;            // UDP payload that passes, where longer ones are lost
  std::string explanation;                       // what limits its use, for a person
  std::uint64_t rx_bytes = 0, tx_bytes = 0;      // UDP payload
  std::uint64_t rx_packets = 0, tx_packets = 0;  // all types
  std::uint64_t disconnects = 0;
  std::optional<Duration> heard_ago;
  Duration peer_rest{};  // how much later than usual the peer's next word may come, see link_rest.cc
};

struct EngineStats {
  std::uint64_t malformed = 0;           // not an MLVPN datagram of exact length
  std::uint64_t bad_mac = 0;             // does not open
  std::uint64_t replayed = 0;            // seen before, too old, or of a retired flow
  std::uint64_t foreign = 0;             // own packets reflected, unknown flows, strangers' clear data
  std::uint64_t delivered = 0;           // packets to tun
  std::uint64_t late = 0;                // came after their hole was given up (delivered)
  std::uint64_t duplicates = 0;          // of DATA, by data_seq (dropped)
  std::uint64_t holes_lost = 0;          // data_seqs given up
  std::uint64_t dropped_no_link = 0;     // from tun while no link was up
  std::uint64_t dropped_no_buffer = 0;   // received, but the pool was empty
  std::uint64_t dropped_queue_full = 0;  // from tun, beyond packet_budget
  std::uint64_t dropped_oversize = 0;    // from tun, longer than kMaxPayload
  std::size_t reorder_held = 0;          // packets that wait behind a hole now
  std::size_t ingress_queued = 0;
};

class Engine {
 public:
  Engine(TimePoint now, const EngineConfig& config, Secrets secrets);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Configuration at run time; the other links do not lose a packet.
  // add_link yields nothing beyond kMaxLinks.
  std::optional<LinkId> add_link(TimePoint now, const LinkConfig& config);
  // Forgets the link. The next poll_transmits yield its DISCONNECT, so close its
  // socket only when these are sent.
  void remove_link(TimePoint now, LinkId link);
  void update_link(TimePoint now, LinkId link, const LinkConfig& config);
  // The name's address of today. A changed one starts the handshake anew.
  void set_remote(TimePoint now, LinkId link, const Endpoint& remote);
  // Both ends may change the key one after the other without losing a packet:
  // the first goes on sealing with the old one, opens both, and says KEEPALIVE
  // under the new one until it hears it from the peer, or for a minute.
  // Session keys that were agreed on stay until their time is over.
  void set_key(TimePoint now, Secrets secrets);
  // What the peer's daemon is told, now and every 15 s, as an event there; at most kMaxNotice bytes.
  // Only a bondd that knows of this gets it.
  void set_notice(TimePoint now, std::string text);
  // Queues DISCONNECT for every link with a session; poll_transmit yields them.
  void shutdown(TimePoint now);

  // From the socket of link `path`. The senders may be hostile.
  void handle_datagrams(TimePoint now, LinkId path, std::span<const ReceivedRun> runs);
  // From tun: pool buffers with payloads of 1 to kMaxPayload bytes. Takes them.
  void handle_packets(TimePoint now, std::span<const PacketRef> packets);
  // How many packets handle_packets can take now without dropping one. While it
  // is 0, leave tun unread: that is the back-pressure.
  [[nodiscard]] std::size_t packet_budget() const;

  void handle_timeout(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> poll_timeout() const;

  // The next datagrams to send; false when there is nothing for now.
  bool poll_transmit(TimePoint now, Transmit& out);
  // Packets for tun, in order; returns how many of `out` were filled.
  std::size_t poll_deliver(std::span<PacketRef> out);
  std::optional<LinkEvent> poll_event();
  // Gives back what poll_transmit or poll_deliver yielded, or an unused buffer.
  void recycle(std::span<const PacketRef> packets);
  // The receive memory of this round is about to be reused.
  void end_round();

  // The socket of `path` takes no more (EAGAIN, ENOBUFS): nothing is scheduled
  // for it until path_writable.
  void path_blocked(TimePoint now, LinkId path);
  void path_writable(TimePoint now, LinkId path);
  // A send failed for good (ENETUNREACH, EPERM, …): no data goes there until
  // something is heard; `why` becomes the reason.
  void path_failed(TimePoint now, LinkId path, const std::string& why);

  [[nodiscard]] BufferPool& pool();
  [[nodiscard]] std::vector<LinkStats> link_stats(TimePoint now) const;
  [[nodiscard]] EngineStats stats() const;
  [[nodiscard]] const char* crypto_implementation() const;

 private:
  friend struct SessionInspector;  // of the tests: what somebody with the memory has
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bondd::mlvpn
