#include "bondd/probes/way_probe.h"

#include <algorithm>
#include <array>

namespace bondd::probes {
namespace {

using model::Answer;

// Limit 1 ends at the gateway. The last one is a whole way's.
constexpr std::array<std::uint8_t, 6> kHopLimits = {2, 3, 4, 5, 1, 64};

}  // namespace

void WayProbe::set_targets(const std::vector<Target>& targets) {
  if (std::ranges::equal(targets, wans_, {}, {}, &Wan::target)) return;
  std::vector<Wan> wans;
  for (const Target& target : targets) {
    const auto known = std::ranges::find_if(wans_, [&](const Wan& wan) { return wan.target == target; });
    if (known != wans_.end()) {
      wans.push_back(std::move(*known));
    } else {
      wans.push_back({});
      wans.back().target = target;
    }
  }
  wans_ = std::move(wans);
  asking_.reset();  // a number of another list
}

void WayProbe::note(TimePoint now, Wan& wan, const IcmpAnswer& answer) {
  const auto place = static_cast<std::uint16_t>(answer.sequence - wan.first_sequence);
  if (place >= kHopLimits.size()) return;
  if (answer.kind == IcmpAnswer::Kind::kEchoReply) {
    wan.server = wan.beyond = true;
    wan.unreachable.reset();
    return;
  }
  if (wan.target.gateway && answer.from == *wan.target.gateway) return;  // shows nothing beyond it
  // A router beyond the gateway has the packet, also when it says that it knows no way on.
  const unsigned limit = kHopLimits.at(place);
  if (limit == 1) return;
  wan.beyond = true;
  if (answer.kind == IcmpAnswer::Kind::kUnreachable && answer.from != wan.target.server) {
    wan.unreachable = now;
    wan.unreachable_by = to_string(answer.from);
  }
  if (limit == 64 && wan.farthest != 0) return;
  if (limit >= wan.farthest) {
    wan.farthest = limit == 64 ? 0 : limit;
    wan.last_hop = to_string(answer.from);
  }
}

// About a packet of the tunnel or the empty one. Routers answer few packets a second, and the tunnel's are
// more.
void WayProbe::note_udp(TimePoint now, Wan& wan, const IcmpAnswer& answer) {
  const bool by_server = answer.from == wan.target.server;
  // Only the server itself can know what listens there.
  if (answer.kind == IcmpAnswer::Kind::kPortUnreachable && by_server) wan.port_refused = now;
  if (answer.kind != IcmpAnswer::Kind::kUnreachable || answer.from == wan.target.gateway) return;
  // The packet is there already, so only a firewall of the server can be against it.
  if (by_server) {
    wan.port_rejected = now;
    return;
  }
  wan.unreachable = now;
  wan.unreachable_by = to_string(answer.from);
}

void WayProbe::handle_answer(TimePoint now, const IcmpAnswer& answer) {
  if (answer.udp_port != 0) {
    for (Wan& wan : wans_) {
      if (wan.target.port == answer.udp_port && wan.target.server == answer.to) note_udp(now, wan, answer);
    }
    return;
  }
  if (!asking_) return;
  Wan& wan = wans_[*asking_];
  if (answer.to == wan.target.server) note(now, wan, answer);
}

void WayProbe::finish(TimePoint now, Wan& wan) {
  wan.result_at = now;
  wan.last_asked = wan.asked;
  wan.result.beyond_gateway = wan.beyond ? Answer::kYes : Answer::kNo;
  wan.result.server = wan.server ? Answer::kYes : Answer::kNo;
  wan.result.last_hop = wan.last_hop;
}

std::vector<WayProbe::Request> WayProbe::poll_requests(TimePoint now) {
  if (asking_) {
    Wan& wan = wans_[*asking_];
    if (now - *wan.asked < kPatience) return {};
    finish(now, wan);
    asking_.reset();
  }
  for (std::size_t tried = 0; tried < wans_.size(); ++tried) {
    next_ = (next_ + 1) % wans_.size();
    Wan& wan = wans_[next_];
    if (!wan.target.server.is_v4() || (wan.asked && now - *wan.asked < kPause)) continue;
    asking_ = next_;
    wan.asked = now;
    wan.first_sequence = sequence_;
    wan.beyond = wan.server = false;
    wan.farthest = 0;
    wan.last_hop.clear();
    std::vector<Request> requests;
    for (const std::uint8_t limit : kHopLimits)
      requests.push_back({wan.target.server, limit, wan.target.mark, sequence_++, 0});
    requests.push_back({wan.target.server, kHopLimits.back(), wan.target.mark, 0, wan.target.port});
    return requests;
  }
  return {};
}

Way WayProbe::way(TimePoint now, const std::string& name) const {
  const auto wan = std::ranges::find_if(wans_, [&](const Wan& one) { return one.target.wan == name; });
  if (wan == wans_.end()) return {};
  Way way;
  if (wan->result_at && now - *wan->result_at < kResultLife) way = wan->result;
  // A refusal from before the last round is over: that round's own datagram was taken.
  const auto holds = [&](const std::optional<TimePoint>& refusal) {
    return refusal && now - *refusal < kResultLife && (!wan->last_asked || *refusal >= *wan->last_asked);
  };
  if (holds(wan->port_refused)) way.port_refused = Answer::kYes;
  if (holds(wan->port_rejected)) way.port_rejected = Answer::kYes;
  if (wan->unreachable && now - *wan->unreachable < kResultLife) way.unreachable_by = wan->unreachable_by;
  return way;
}

}  // namespace bondd::probes
