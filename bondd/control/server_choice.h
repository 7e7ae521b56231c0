// Which of the server's addresses each WAN of an office uses. A name may have several, and a line may
// reach one and not another. Pure: addresses, states and time in, an address per WAN out.
//
//   a WAN hears nothing for kSilencePatience  ->  the next address, one that carries for another WAN first
//   it was heard at this address, and another WAN still is  ->  the line is at fault, the address stays
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"
#include "bondd/model/config.h"
#include "bondd/model/status.h"

namespace bondd::control {

constexpr auto kSilencePatience = std::chrono::seconds(10);  // a TLS handshake, twice

class ServerChoice {
 public:
  // In order of preference. A WAN keeps its address if it is still among them. A WAN has those
  // of its `bind`'s family to choose from, else the IPv4 ones if there are any: gateways are reached by IPv4.
  void set(TimePoint now, const std::vector<model::Wan>& wans, const std::vector<IpAddress>& addresses);

  struct Move {
    std::string wan;
    IpAddress from, to;
  };
  // What the WANs do now. Those that take another address, for the log.
  std::vector<Move> handle_states(TimePoint now, const std::vector<model::WanStatus>& states);

  // By WAN; empty for WANs without any.
  [[nodiscard]] const std::map<std::string, IpAddress>& by_wan() const { return by_wan_; }

 private:
  struct Line {
    std::vector<IpAddress> candidates;
    TimePoint since;          // of its last sign of life, or of this address
    bool heard_here = false;  // at this address, ever
    bool answers = false;     // now
  };
  [[nodiscard]] bool carries_for_another(const std::string& wan, const IpAddress& address) const;
  [[nodiscard]] IpAddress next(const std::string& wan, const Line& line) const;

  std::map<std::string, Line> lines_;
  std::map<std::string, IpAddress> by_wan_;
};

}  // namespace bondd::control
