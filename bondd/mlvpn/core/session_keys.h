// The session keys of one link: what opens what comes, and what seals what leaves.
//
//   offered   a server's answers to AUTH; the first packet under one of them makes it current
//   current   seals and opens
//   former    only opens what was under way when the current keys took its place
//
// Keys of one session follow each other without a change of the flow: numbers go on, reports and replay
// windows know nothing of it. All are wiped when their time is over.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/capability.h"
#include "bondd/mlvpn/core/crypto.h"
#include "bondd/mlvpn/session/hello.h"

namespace bondd::mlvpn {

using SessionSeconds = std::chrono::seconds;

// When a client agrees on new keys. A recording and a stolen password open nothing that is older than these
// and what follows; shorter would cost two datagrams and 0.3 ms of both processors each.
inline constexpr Duration kRekeyAfter = SessionSeconds(120);
// No key is used for longer, whatever becomes of the new ones: 60 s of tries.
inline constexpr Duration kKeyLife = SessionSeconds(180);
// Former keys, after the peer was heard under the current ones: longer than any line's queue.
inline constexpr Duration kFormerOpens = SessionSeconds(10);
// A client's question, sent again unchanged: an answer to an earlier one is of no use. Longer than any round
// trip: on the slowest recorded lines (UMTS, EV-DO) packets stood in queues for 10.6 s.
inline constexpr Duration kHelloLife = SessionSeconds(20);
// Offered keys that nobody uses. As long as a question is repeated, and what tells that its answer came may
// be under way.
inline constexpr Duration kOfferLife = SessionSeconds(35);
// Of one link: a client has one, the others are recordings.
inline constexpr std::size_t kMostOffers = 4;
// Handshakes that a link begins in a second without a proof that the client is no recording. Each is 0.3 ms
// of a processor.
inline constexpr unsigned kHandshakesPerSecond = 20;

// Then a question with the name of another link is taken: a genuine one had come in that time.
inline constexpr Duration kMisnamedPatience = SessionSeconds(5);

// What one handshake gave.
struct Session {
  std::uint32_t receive_id = 0, send_id = 0;  // on the wire
  std::uint32_t receive_flow = 0,
                send_flow = 0;  // what both ends call the packets of it: the first keys' ids
  SecretBox opens, seals;
  TimePoint made;
  Announcement peer;
  std::uint64_t name = 0;  // a server's: that the client gives the line
  bool proven = false;     // by a number of ours
};

class SessionKeys {
 public:
  using PublicKey = std::array<std::uint8_t, kNoiseKeySize>;  // a client's, of one handshake

  // Those that open packets with this id; null: none. Former ones are empty of `seals`.
  [[nodiscard]] SecretBox* opener(TimePoint now, std::uint32_t receive_id, std::uint32_t& flow);
  [[nodiscard]] Session* current() { return current_ ? &*current_ : nullptr; }
  [[nodiscard]] const Session* current() const { return current_ ? &*current_ : nullptr; }
  [[nodiscard]] bool uses(std::uint32_t receive_id) const;

  // --- a server's offers. The oldest makes place.
  void offer(TimePoint now, const PublicKey& client, std::vector<std::uint8_t> reply, Session session);
  // What was answered to this client's key; null: nothing yet.
  [[nodiscard]] const std::vector<std::uint8_t>* reply_to(const PublicKey& client) const;
  [[nodiscard]] bool is_offered(std::uint32_t receive_id) const;
  std::optional<Session> take_offer(std::uint32_t receive_id);

  // --- the change. With `same_flow` the former keys still open.
  void use(TimePoint now, Session session, bool same_flow);
  // The peer was heard under the current keys.
  void on_heard(TimePoint now, std::uint32_t receive_id);
  // Not yet since use().
  [[nodiscard]] bool awaits_peer() const { return current_ && !heard_; }

  // Wipes what is over. True: the current keys are, too.
  bool expire(TimePoint now);
  void clear();
  [[nodiscard]] std::optional<TimePoint> deadline() const;

 private:
  friend struct SessionInspector;  // of the tests: what somebody with the memory has
  struct Offer {
    PublicKey client{};
    std::vector<std::uint8_t> reply;
    Session session;
  };
  struct Former {
    std::uint32_t receive_id = 0, flow = 0;
    SecretBox opens;
    TimePoint until;
  };

  std::optional<Session> current_;
  bool heard_ = false;
  std::optional<Former> former_;
  std::vector<Offer> offers_;
};

// A server's bound of handshakes that were not proven.
class HandshakeLimit {
 public:
  bool take(TimePoint now) {
    if (now - second_ >= SessionSeconds(1)) {
      second_ = now;
      taken_ = 0;
    }
    return taken_++ < kHandshakesPerSecond;
  }

 private:
  TimePoint second_{};
  unsigned taken_ = 0;
};

}  // namespace bondd::mlvpn
