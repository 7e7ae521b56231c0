// What openvpn's log lines mean to an admin, and which of several complaints counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"

namespace bondd::control {

// How much a complaint proves, from little to much.
enum class Proof : std::uint8_t {
  kNoAnswer,  // nothing came; many causes
  kWay,       // the packets do not get there now
  kSecret,    // packets came, and keys or certificates of the two ends differ: the way is fine
  kLocal,     // openvpn cannot work on this machine
};

struct Complaint {
  std::string words;  // the cause, with what to look at
  Proof proof = Proof::kNoAnswer;
  bool operator==(const Complaint&) const = default;
};

// What a line of openvpn's output tells of; nothing for a line that tells of no trouble. Lines as
// openvpn 2.5 to 2.7 write them, with or without a time.
std::optional<Complaint> complaint_in(std::string_view line);
// The IPv4 address of the other end that a line tells; nothing if it tells none.
std::optional<IpAddress> peer_in(std::string_view line);

// The complaint of one tunnel that counts: the one that proves most, and of equals the latest.
class Complaints {
 public:
  // True if it is another one than before: worth a line in the log.
  bool handle(TimePoint now, const Complaint& complaint);
  // Its openvpn was started anew, and may have read other keys.
  void handle_restart(TimePoint now);
  [[nodiscard]] std::optional<Complaint> counts(TimePoint now) const;

 private:
  std::optional<Complaint> known_;
  std::optional<TimePoint> until_;  // nothing: as long as this openvpn runs
};

// openvpn says it again as long as it lasts, but for what --mute suppresses.
constexpr auto kComplaintLife = std::chrono::seconds(20);
// A client's openvpn ends after a handshake that failed, and begins again after 30 s at the latest.
constexpr auto kSecretAfterRestart = std::chrono::seconds(60);

}  // namespace bondd::control
