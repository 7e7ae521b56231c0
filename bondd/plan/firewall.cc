#include "bondd/plan/firewall.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/mangle.h"
#include "bondd/plan/words.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using model::Role;
using rules::Chain;
using rules::Jump;

const Words kAccept{"-j", "ACCEPT"};
const Words kEstablished{"-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"};

class Builder {
 public:
  Builder(const Config& config, const Facts& facts, const std::vector<Tunnel>& tunnels)
      : config_(config), facts_(facts), tunnels_(tunnels) {}

  rules::Firewall build() {
    add_input();
    add_forward();
    add_source_nat();
    add_destination_nat();
    rules::Firewall firewall;
    for (const rules::Table& table : {filter_, plan_mangle(config_, facts_), nat_}) {
      if (!table.chains.empty()) firewall.tables.push_back(table);
    }
    return firewall;
  }

 private:
  [[nodiscard]] std::string device_of(const std::string& wan) const {
    return wan_device(config_.wans[wan_number(config_, wan) - 1], facts_.network);
  }

  [[nodiscard]] std::set<unsigned> steered_numbers() const {
    std::set<unsigned> numbers;
    for (const model::Policy& policy : config_.policies) numbers.insert(wan_number(config_, policy.wan));
    return numbers;
  }

  // WANs by which something leaves past the bond: a policy's, and, when it may leave directly, all: what
  // began there goes on when the bond is back.
  [[nodiscard]] std::set<unsigned> past_bond_numbers() const {
    std::set<unsigned> numbers = steered_numbers();
    for (unsigned n = 1; config_.failover.direct && n <= config_.wans.size(); ++n) numbers.insert(n);
    return numbers;
  }

  // Their devices, in the file's order.
  [[nodiscard]] std::vector<std::pair<unsigned, std::string>> steered_wans() const {
    return with_devices(past_bond_numbers());
  }

  // The same, and the one by which this machine asks the time.
  [[nodiscard]] std::vector<std::pair<unsigned, std::string>> translated_wans() const {
    std::set<unsigned> numbers = past_bond_numbers();
    if (facts_.clock_wan != 0 && facts_.clock_wan <= config_.wans.size()) numbers.insert(facts_.clock_wan);
    return with_devices(numbers);
  }

  [[nodiscard]] std::vector<std::pair<unsigned, std::string>> with_devices(
      const std::set<unsigned>& numbers) const {
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
    add_chain(filter_, config_, "IN", "INPUT", std::move(rules));
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
      add_resets(rules);
      rules.push_back(Words{"-i", bond} + kAccept);
      rules.push_back(Words{"-o", bond} + kAccept);
      for (const auto& [n, device] : steered_wans()) {
        rules.push_back(Words{"-o", device} + policy_mark(n) + kAccept);
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
    add_chain(filter_, config_, "FWD", "FORWARD", std::move(rules));
  }

  // [failover] running = "reset": TCP of the LAN that began on the way that is not taken now. Only what is
  // not new: the first packet of a connection takes the way of now.
  void add_resets(std::vector<Words>& rules) const {
    if (!config_.failover.direct || config_.failover.running != model::Running::kReset) return;
    const Words reset{"-m",       "conntrack", "--ctstate", "ESTABLISHED",   "--ctdir",
                      "ORIGINAL", "-j",        "REJECT",    "--reject-with", "tcp-reset"};
    const Words tcp{"-p", "tcp"};
    if (facts_.direct_wan != 0) {
      rules.push_back(Words{"-o", config_.bond.interface} + tcp + reset);
      return;
    }
    const MarkWords marks{config_.mark_mask};
    for (const auto& [n, device] : steered_wans()) {
      const std::uint32_t mark = model::policy_mark(config_.mark_mask, facts_.slot, n);
      rules.push_back(Words{"-o", device} + tcp + marks.with_connection(mark) + reset);
    }
  }

  [[nodiscard]] Words policy_mark(unsigned n) const {
    return MarkWords{config_.mark_mask}.with(model::policy_mark(config_.mark_mask, facts_.slot, n));
  }

  // nat POSTROUTING: steered traffic takes the address towards its gateway, the bond's that of the VPS.
  void add_source_nat() {
    std::vector<Words> rules;
    for (const auto& [n, device] : translated_wans()) {
      rules.push_back(Words{"-o", device} + policy_mark(n) + Words{"-j", "MASQUERADE"});
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
    add_chain(nat_, config_, "SNAT", "POSTROUTING", std::move(rules));
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
    add_chain(nat_, config_, "DNAT", "PREROUTING", std::move(rules));
  }

  static std::string target_ports(const model::PortRange& range) {
    return range.first == range.last ? fmt::format("{}", range.first)
                                     : fmt::format("{}-{}", range.first, range.last);
  }

  const Config& config_;
  const Facts& facts_;
  const std::vector<Tunnel>& tunnels_;
  rules::Table filter_{"filter", {}, {}}, nat_{"nat", {}, {}};
};

}  // namespace

rules::Firewall plan_firewall(const Config& config, const Facts& facts, const std::vector<Tunnel>& tunnels) {
  return Builder(config, facts, tunnels).build();
}

}  // namespace bondd::plan
