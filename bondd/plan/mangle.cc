#include "bondd/plan/mangle.h"

#include <algorithm>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/firewall.h"
#include "bondd/plan/routing.h"
#include "bondd/plan/words.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using model::Match;
using model::Role;

constexpr const char* kNtpPort = "123";

Words match_words(const Match& match) {
  Words words;
  if (match.source) words = words + source(*match.source);
  if (match.destination) words = words + destination(*match.destination);
  words = words + proto(match.proto);
  if (match.sport) words = words + Words{"--sport", ports(*match.sport)};
  if (match.dport) words = words + Words{"--dport", ports(*match.dport)};
  return words;
}

class Builder {
 public:
  Builder(const Config& config, const Facts& facts)
      : config_(config), facts_(facts), marks_{config.mark_mask} {}

  rules::Table build() {
    add_mss();
    add_sources();
    if (config_.role == Role::kClient) {
      add_arrivals();
      add_steering();
    }
    return std::move(mangle_);
  }

 private:
  // mangle FORWARD: a TCP segment must fit the tunnel in both directions.
  void add_mss() {
    const Words clamp{"-p",      "tcp", "-m", "tcp",    "--tcp-flags",
                      "SYN,RST", "SYN", "-j", "TCPMSS", "--clamp-mss-to-pmtu"};
    add_chain(mangle_, config_, "MSS", "FORWARD",
              {Words{"-i", config_.bond.interface} + clamp, Words{"-o", config_.bond.interface} + clamp});
  }

  // PREROUTING: where packets out of the bond may say that they come from, as WireGuard's allowed IPs. To the
  // VPS from the office's networks; to the office from anywhere, its own networks excepted.
  void add_sources() {
    const Words in{"-i", config_.bond.interface, "-j"};
    std::vector<Words> rules;
    const auto add = [&](const IpPrefix& prefix, const char* target) {
      rules.push_back(source(prefix) + in + Words{target});
    };
    add(config_.bond.address.network(), "RETURN");
    if (config_.role == Role::kServer) {
      for (const IpPrefix& prefix : config_.through_bond) {
        if (prefix.address.is_v4()) add(prefix, "RETURN");
      }
      rules.push_back(in + Words{"DROP"});
    } else {
      for (const auto& [prefix, ours] : by_length()) add(prefix, ours ? "DROP" : "RETURN");
    }
    add_chain(mangle_, config_, "SRC", "PREROUTING", std::move(rules));
  }

  // The office's networks (true), and the through_bond networks that are or lie in one of them (false): the
  // longest first, as routes count, and what the file says before what an interface has.
  [[nodiscard]] std::vector<std::pair<IpPrefix, bool>> by_length() const {
    const std::vector<IpPrefix> inside = inside_networks(config_, facts_.network, "");
    std::vector<std::pair<IpPrefix, bool>> out;
    for (const IpPrefix& prefix : inside) out.emplace_back(prefix, true);
    for (const IpPrefix& network : config_.through_bond) {
      const bool covered = std::any_of(inside.begin(), inside.end(), [&](const IpPrefix& wide) {
        return wide.length <= network.length && wide.contains(network.address);
      });
      if (covered) out.emplace_back(network.network(), false);
    }
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
      return std::pair(-a.first.length, a.second) < std::pair(-b.first.length, b.second);
    });
    return out;
  }

  // INPUT and PREROUTING: a connection that comes in by a WAN is noted with it. The networks on this side are
  // told from the Internet by the source; of several gateways on one device each by its hardware address,
  // and one that is not known yet counts as that of the default route.
  [[nodiscard]] std::vector<Words> arrivals(const Words& protocol, std::string_view direction) const {
    std::vector<Words> rules;
    for (const auto& [device, wans] : wans_by_device()) {
      for (const IpPrefix& inside : inside_networks(config_, facts_.network, device))
        rules.push_back(source(inside) + Words{"-i", device, "-j", "RETURN"});
      const auto note = [&](unsigned n, const Words& from) {
        rules.push_back(Words{"-i", device} + protocol + from +
                        Words{"-m", "conntrack", "--ctdir", std::string(direction)} +
                        marks_.set_connection(model::policy_mark(marks_.mask, facts_.slot, n)));
      };
      if (wans.size() == 1) {
        note(wans.front(), {});
        continue;
      }
      if (const auto n = default_wan(config_, facts_.network, device)) note(*n, {});
      for (const unsigned n : wans) {
        if (const auto mac = gateway_mac(n)) note(n, {"-m", "mac", "--mac-source", to_string(*mac)});
      }
    }
    return rules;
  }

  // Numbers of the WANs that leave by each device, in the file's order.
  [[nodiscard]] std::vector<std::pair<std::string, std::vector<unsigned>>> wans_by_device() const {
    std::vector<std::pair<std::string, std::vector<unsigned>>> out;
    for (unsigned n = 1; n <= config_.wans.size(); ++n) {
      const std::string device = wan_device(config_.wans[n - 1], facts_.network);
      if (device.empty()) continue;
      auto found = std::find_if(out.begin(), out.end(), [&](const auto& one) { return one.first == device; });
      if (found == out.end()) found = out.insert(out.end(), {device, {}});
      found->second.push_back(n);
    }
    return out;
  }

  [[nodiscard]] std::optional<MacAddress> gateway_mac(unsigned n) const {
    const Exit exit = find_exit(config_.wans[n - 1], facts_.network);
    const auto& all = facts_.network.neighbours;
    const auto found = std::find_if(all.begin(), all.end(), [&](const netlink::Neighbour& neighbour) {
      return neighbour.device == exit.device && exit.gateway == neighbour.address;
    });
    return found == all.end() ? std::nullopt : std::optional(found->mac);
  }

  // What comes in by a WAN is answered by that WAN, what came in through the bond by the bond, even where
  // through_bond says otherwise. Only the office has several ways out. A TCP connection of this machine that
  // is older than we are (the admin's own, by which he runs `bondd up`) goes on by the WAN that its packets
  // come by; other protocols have no connection that could break.
  void add_arrivals() {
    add_chain(mangle_, config_, "WAN", "PREROUTING", arrivals({}, "ORIGINAL"));
    add_chain(mangle_, config_, "EST", "INPUT", arrivals({"-p", "tcp"}, "REPLY"));
  }

  // OUTPUT and PREROUTING, in this order: the way that is chosen already (a tunnel's own), the way by which a
  // connection came in, a policy's. A policy that also fits the tunnels (all of UDP) must not lead them
  // by one WAN, nor answers.
  void add_steering() {
    const std::string& bond = config_.bond.interface;
    const Words back{"-j", "RETURN"};
    const std::vector<Words> policies = policy_rules();

    std::vector<Words> out{marks_.with_any() + back, marks_.with_any_connection() + marks_.restore()};
    const bool more = !policies.empty() || facts_.clock_wan != 0 || facts_.direct_wan != 0;
    if (more) out.push_back(marks_.with_any() + back);
    if (facts_.clock_wan != 0) out.push_back(clock_rule());
    out.insert(out.end(), policies.begin(), policies.end());
    add_direct(Words{"-o", bond}, out);
    add_chain(mangle_, config_, "OUT", "OUTPUT", std::move(out));

    std::vector<Words> pre{
        Words{"-i", bond, "-m", "conntrack", "--ctdir", "ORIGINAL"} +
            marks_.set_connection(model::reply_mark(marks_.mask, facts_.slot)),
        Words{"-i", bond} + back,
        Words{"-m", "conntrack", "--ctdir", "REPLY"} + marks_.with_any_connection() + marks_.restore(),
    };
    // A connection that began past the bond goes on there.
    if (config_.failover.direct) {
      pre.push_back(Words{"-m", "conntrack", "--ctdir", "ORIGINAL"} + marks_.with_any_connection() +
                    marks_.restore());
    }
    if (!policies.empty() || facts_.direct_wan != 0) {
      pre.push_back(marks_.with_any_connection() + back);
      pre.push_back(marks_.with_any() + back);
    }
    pre.insert(pre.end(), policies.begin(), policies.end());
    add_direct({}, pre);
    add_chain(mangle_, config_, "PRE", "PREROUTING", std::move(pre));
  }

  // What is new, has no way of its own and would go into a bond that carries nothing leaves by a WAN. The
  // connection is marked, so that it stays there. Of what the bond's two ends say to each other nothing may.
  void add_direct(const Words& from, std::vector<Words>& rules) const {
    if (facts_.direct_wan == 0) return;
    rules.push_back(destination(config_.bond.address.network()) + from + Words{"-j", "RETURN"});
    if (!config_.policies.empty()) rules.push_back(marks_.with_any() + Words{"-j", "RETURN"});
    for (const IpPrefix& network : config_.through_bond) {
      if (!network.address.is_v4()) continue;
      rules.push_back(destination(network) + from + Words{"-m", "conntrack", "--ctstate", "NEW"} +
                      marks_.set_connection(model::policy_mark(marks_.mask, facts_.slot, facts_.direct_wan)));
    }
    rules.push_back(from + marks_.with_any_connection() + marks_.restore());
  }

  // NTP of this machine that would go into a bond that carries nothing. A policy for it comes after this.
  [[nodiscard]] Words clock_rule() const {
    return Words{"-o", config_.bond.interface} + proto(model::Protocol::kUdp) + Words{"--dport", kNtpPort} +
           marks_.set(model::policy_mark(marks_.mask, facts_.slot, facts_.clock_wan));
  }

  // The mark that leads a policy's traffic to its WAN's table.
  [[nodiscard]] std::vector<Words> policy_rules() const {
    std::vector<Words> rules;
    for (const model::Policy& policy : config_.policies) {
      const std::uint32_t mark =
          model::policy_mark(marks_.mask, facts_.slot, wan_number(config_, policy.wan));
      for (const Match& match : policy.matches) rules.push_back(match_words(match) + marks_.set(mark));
    }
    return rules;
  }

  const Config& config_;
  const Facts& facts_;
  const MarkWords marks_;
  rules::Table mangle_{"mangle", {}, {}};
};

}  // namespace

rules::Table plan_mangle(const Config& config, const Facts& facts) {
  return Builder(config, facts).build();
}

}  // namespace bondd::plan
