#include "bondd/plan/firewall.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bondd/model/ownership.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using model::Match;
using model::Role;
using rules::Chain;
using rules::Jump;
using Words = std::vector<std::string>;

Words operator+(Words left, const Words& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

std::string_view name(model::Protocol proto) {
  return proto == model::Protocol::kTcp ? "tcp" : "udp";
}

std::string ports(const model::PortRange& range) {
  return range.first == range.last ? fmt::format("{}", range.first)
                                   : fmt::format("{}:{}", range.first, range.last);
}

Words proto(model::Protocol p) {
  return {"-p", std::string(name(p)), "-m", std::string(name(p))};
}

std::string masked(std::uint32_t mark) {
  return fmt::format("{:#x}/{:#x}", mark, model::kMarkMask);
}
Words with_mark(std::uint32_t mark) {
  return {"-m", "mark", "--mark", masked(mark)};
}
// A packet whose way has been chosen: a tunnel's own, or an answer.
Words with_any_mark() {
  return {"-m", "mark", "!", "--mark", masked(0)};
}

const Words kAccept{"-j", "ACCEPT"};
const Words kEstablished{"-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"};

// iptables-save leaves out what matches every address.
Words source(const IpPrefix& prefix) {
  return prefix.is_default() ? Words{} : Words{"-s", to_string(prefix.network())};
}
Words destination(const IpPrefix& prefix) {
  return prefix.is_default() ? Words{} : Words{"-d", to_string(prefix.network())};
}
IpPrefix host(const IpAddress& address) {
  return IpPrefix{address, address.bits()};
}

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
  Builder(const Config& config, const Facts& facts, const std::vector<Tunnel>& tunnels)
      : config_(config), facts_(facts), tunnels_(tunnels) {}

  rules::Firewall build() {
    add_input();
    add_forward();
    add_mss();
    add_steering();
    add_reply_marks();
    add_source_nat();
    add_destination_nat();
    rules::Firewall firewall;
    for (rules::Table* table : {&filter_, &mangle_, &nat_}) {
      if (!table->chains.empty()) firewall.tables.push_back(*table);
    }
    return firewall;
  }

 private:
  void add_chain(rules::Table& table, std::string_view part, std::string_view builtin,
                 std::vector<Words> rules) {
    if (rules.empty()) return;
    const std::string chain = model::chain_name(part, config_.site);
    table.chains.push_back(Chain{chain, std::move(rules)});
    table.jumps.push_back(Jump{std::string(builtin), chain, true});
  }

  [[nodiscard]] unsigned wan_number(const std::string& wan) const {
    const auto found = std::find_if(config_.wans.begin(), config_.wans.end(),
                                    [&](const model::Wan& w) { return w.name == wan; });
    return static_cast<unsigned>(found - config_.wans.begin()) + 1;
  }

  [[nodiscard]] std::string device_of(const std::string& wan) const {
    return wan_device(config_.wans[wan_number(wan) - 1], facts_.network);
  }

  // Devices of the WANs that something is steered to, in the file's order.
  [[nodiscard]] std::vector<std::pair<unsigned, std::string>> steered_wans() const {
    std::set<unsigned> numbers;
    for (const model::Policy& policy : config_.policies) numbers.insert(wan_number(policy.wan));
    std::vector<std::pair<unsigned, std::string>> out;
    for (const unsigned n : numbers) {
      if (const std::string device = wan_device(config_.wans[n - 1], facts_.network); !device.empty()) {
        out.emplace_back(n, device);
      }
    }
    return out;
  }

  // filter INPUT: the tunnels' own packets, and what comes out of the bond.
  void add_input() {
    std::vector<Words> rules;
    for (const Tunnel& tunnel : tunnels_) {
      const std::string port = fmt::format("{}", tunnel.port);
      if (config_.role == Role::kServer) {
        rules.push_back(listen_address() + proto(model::Protocol::kUdp) + Words{"--dport", port} + kAccept);
        continue;
      }
      for (const IpAddress& server : facts_.server_addresses) {
        if (!server.is_v4()) continue;
        rules.push_back(source(host(server)) + proto(model::Protocol::kUdp) + Words{"--sport", port} +
                        kAccept);
      }
    }
    rules.push_back(Words{"-i", config_.bond.interface} + kAccept);
    add_chain(filter_, "IN", "INPUT", std::move(rules));
  }

  [[nodiscard]] Words listen_address() const {
    for (const IpAddress& address : facts_.server_addresses) {
      if (address.is_v4() && !address.is_unspecified()) return destination(host(address));
    }
    return {};
  }

  // filter FORWARD. At the office everything may use the bond. At the VPS the bond may
  // leave by the masqueraded devices, and come back; from outside only what is forwarded.
  void add_forward() {
    const std::string& bond = config_.bond.interface;
    std::vector<Words> rules;
    if (config_.role == Role::kClient) {
      rules.push_back(Words{"-i", bond} + kAccept);
      rules.push_back(Words{"-o", bond} + kAccept);
      for (const auto& [n, device] : steered_wans()) {
        rules.push_back(Words{"-o", device} + with_mark(model::policy_mark(facts_.slot, n)) + kAccept);
        rules.push_back(Words{"-i", device} + kEstablished);
      }
    } else {
      for (const std::string& device : config_.masquerade) {
        rules.push_back(Words{"-i", bond, "-o", device} + kAccept);
      }
      rules.push_back(Words{"-i", bond} + kEstablished);
      rules.push_back(Words{"-o", bond} + kEstablished);
      for (const model::Forward& forward : config_.forwards) {
        rules.push_back(destination(host(forward.to)) + Words{"-o", bond} + proto(forward.proto) +
                        Words{"--dport", ports(forward.to_port.value_or(forward.port))} + kAccept);
      }
    }
    add_chain(filter_, "FWD", "FORWARD", std::move(rules));
  }

  // mangle FORWARD: a TCP segment must fit the tunnel in both directions.
  void add_mss() {
    const Words clamp{"-p",      "tcp", "-m", "tcp",    "--tcp-flags",
                      "SYN,RST", "SYN", "-j", "TCPMSS", "--clamp-mss-to-pmtu"};
    add_chain(mangle_, "MSS", "FORWARD",
              {Words{"-i", config_.bond.interface} + clamp, Words{"-o", config_.bond.interface} + clamp});
  }

  // mangle OUTPUT and PREROUTING: the mark that leads a policy's traffic to its WAN's table. What has a mark
  // of ours keeps it: a policy that also fits the tunnels (all of UDP) must not lead them by one WAN.
  void add_steering() {
    std::vector<Words> rules{with_any_mark() + Words{"-j", "RETURN"}};
    for (const model::Policy& policy : config_.policies) {
      const std::uint32_t mark = model::policy_mark(facts_.slot, wan_number(policy.wan));
      for (const Match& match : policy.matches) {
        rules.push_back(match_words(match) + Words{"-j", "MARK", "--set-xmark", masked(mark)});
      }
    }
    if (rules.size() == 1) return;
    add_chain(mangle_, "OUT", "OUTPUT", rules);
    rules.insert(rules.begin(), Words{"-i", config_.bond.interface, "-j", "RETURN"});
    add_chain(mangle_, "PRE", "PREROUTING", std::move(rules));
  }

  // mangle: a connection that came in through the bond is answered through the bond, even where
  // through_bond says otherwise. Only the office has another way out.
  void add_reply_marks() {
    if (config_.role != Role::kClient) return;
    const std::string& bond = config_.bond.interface;
    const std::string mark = masked(model::reply_mark(facts_.slot));
    const Words restore{"-m",
                        "connmark",
                        "--mark",
                        mark,
                        "-j",
                        "CONNMARK",
                        "--restore-mark",
                        "--nfmask",
                        fmt::format("{:#x}", model::kMarkMask),
                        "--ctmask",
                        fmt::format("{:#x}", model::kMarkMask)};
    add_chain(
        mangle_, "RPL", "PREROUTING",
        {Words{"-i", bond, "-m", "conntrack", "--ctstate", "NEW", "-j", "CONNMARK", "--set-xmark", mark},
         Words{"!", "-i", bond} + restore});
    add_chain(mangle_, "RPO", "OUTPUT", {restore});
  }

  // nat POSTROUTING: steered traffic takes the address towards its box, the bond's that of the VPS.
  void add_source_nat() {
    std::vector<Words> rules;
    for (const auto& [n, device] : steered_wans()) {
      rules.push_back(Words{"-o", device} + with_mark(model::policy_mark(facts_.slot, n)) +
                      Words{"-j", "MASQUERADE"});
    }
    std::vector<IpPrefix> inside{config_.bond.address.network()};
    inside.insert(inside.end(), config_.through_bond.begin(), config_.through_bond.end());
    for (const std::string& device : config_.masquerade) {
      for (const IpPrefix& prefix : inside) {
        if (!prefix.address.is_v4()) continue;
        rules.push_back(source(prefix) + Words{"-o", device, "-j", "MASQUERADE"});
      }
    }
    if (!config_.forwards.empty()) add_hairpin(inside, rules);
    add_chain(nat_, "SNAT", "POSTROUTING", std::move(rules));
  }

  // The office asks for its own service by the VPS's address: the answer must come back by the VPS,
  // so here, and only here, the client's address is not kept.
  void add_hairpin(const std::vector<IpPrefix>& inside, std::vector<Words>& rules) const {
    for (const IpPrefix& prefix : inside) {
      if (!prefix.address.is_v4() || prefix.is_default()) continue;
      rules.push_back(source(prefix) + Words{"-o", config_.bond.interface, "-m", "conntrack", "--ctstate",
                                             "DNAT", "-j", "MASQUERADE"});
    }
  }

  // nat PREROUTING: services exposed at the VPS's own addresses. The client's address is kept.
  void add_destination_nat() {
    std::vector<Words> rules;
    for (const model::Forward& forward : config_.forwards) {
      Words at = listen_address();
      if (at.empty()) at = {"!", "-i", config_.bond.interface};
      const Words local = listen_address().empty() ? Words{"-m", "addrtype", "--dst-type", "LOCAL"} : Words{};
      std::string to = to_string(forward.to);
      if (forward.to_port) to += fmt::format(":{}", target_ports(*forward.to_port));
      rules.push_back(at + proto(forward.proto) + Words{"--dport", ports(forward.port)} + local +
                      Words{"-j", "DNAT", "--to-destination", to});
    }
    add_chain(nat_, "DNAT", "PREROUTING", std::move(rules));
  }

  static std::string target_ports(const model::PortRange& range) {
    return range.first == range.last ? fmt::format("{}", range.first)
                                     : fmt::format("{}-{}", range.first, range.last);
  }

  const Config& config_;
  const Facts& facts_;
  const std::vector<Tunnel>& tunnels_;
  rules::Table filter_{"filter", {}, {}}, mangle_{"mangle", {}, {}}, nat_{"nat", {}, {}};
};

}  // namespace

rules::Firewall plan_firewall(const Config& config, const Facts& facts, const std::vector<Tunnel>& tunnels) {
  return Builder(config, facts, tunnels).build();
}

}  // namespace bondd::plan
