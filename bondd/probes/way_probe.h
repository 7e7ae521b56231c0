// How far a WAN's packets get towards the server, as traceroute finds out: echo requests to the
// server's own address, one with an ordinary hop limit and some with short ones. An empty datagram to the
// WAN's UDP port shows whether the server refuses it: no program takes that for anything. Pure: answers
// and time in, requests and results out.
//
//   office --- gateway --- provider --- ... --- server
//               limit 1     limit 2 ...          limit 64
//
// One WAN is asked at a time, seven small packets, and none more often than each kPause.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"
#include "bondd/model/answer.h"
#include "bondd/probes/icmp.h"

namespace bondd::probes {

constexpr auto kPatience = std::chrono::milliseconds(1500);  // a long way (satellite, LTE) and a slow router
// Between two rounds of one WAN: what was true before the server's program was started is corrected within
// 8 s, as long as an impatient `up --timeout` waits.
constexpr auto kPause = std::chrono::seconds(3);
constexpr auto kResultLife = std::chrono::seconds(20);  // an older result tells nothing any more

// What the last round found.
struct Way {
  model::Answer beyond_gateway = model::Answer::kUnknown;
  model::Answer server = model::Answer::kUnknown;
  // kYes: the server says that nothing listens there, or that its firewall lets nothing in there.
  model::Answer port_refused = model::Answer::kUnknown, port_rejected = model::Answer::kUnknown;
  std::string last_hop;        // the farthest router that answered beyond the gateway
  std::string unreachable_by;  // a router beyond the gateway that says that it knows no way to the server
};

class WayProbe {
 public:
  struct Target {
    std::string wan;
    IpAddress server;
    std::optional<IpAddress> gateway;
    std::uint16_t port = 0;
    std::uint32_t mark = 0;  // so that it leaves by this WAN
    bool operator==(const Target&) const = default;
  };
  struct Request {
    IpAddress to;
    std::uint8_t hop_limit = 0;
    std::uint32_t mark = 0;
    std::uint16_t sequence = 0;
    std::uint16_t udp_port = 0;  // not 0: an empty datagram to that port, no echo request
  };

  // The WANs that should be asked about now; the others' results are forgotten.
  void set_targets(const std::vector<Target>& targets);
  void handle_answer(TimePoint now, const IcmpAnswer& answer);
  // Requests to send now, at most a round's; empty most of the time.
  std::vector<Request> poll_requests(TimePoint now);
  [[nodiscard]] Way way(TimePoint now, const std::string& wan) const;

 private:
  struct Wan {
    Target target;
    std::optional<TimePoint> asked, port_refused, port_rejected, unreachable;
    std::optional<TimePoint> last_asked;  // of the last round that ended
    std::uint16_t first_sequence = 0;
    bool beyond = false, server = false;
    unsigned farthest = 0;
    std::string last_hop, unreachable_by;
    std::optional<TimePoint> result_at;
    Way result;
  };
  void finish(TimePoint now, Wan& wan);
  static void note(TimePoint now, Wan& wan, const IcmpAnswer& answer);
  static void note_udp(TimePoint now, Wan& wan, const IcmpAnswer& answer);

  std::vector<Wan> wans_;
  std::size_t next_ = 0;
  std::optional<std::size_t> asking_;
  std::uint16_t sequence_ = 0;
};

}  // namespace bondd::probes
