#include "bondd/plan/firewall.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/mangle.h"
#include "bondd/plan/words.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using model::Role;

const Words kAccept{"-j", "ACCEPT"};
// A packet that begins something; what is part of nothing is the admin's affair.
const Words kDropNew{"-m", "conntrack", "--ctstate", "NEW,UNTRACKED", "-j", "DROP"};
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
  [[nodiscard]] bool is_client() const { return config_.role == Role::kClient; }
  [[nodiscard]] bool trusts_all() const { return config_.bond.from_bond == model::FromBond::kAll; }
  [[nodiscard]] Words from_bond() const { return {"-i", config_.bond.interface}; }

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

  // filter INPUT: the tunnels' own packets, and what may come out of the bond.
  void add_input() {
    std::vector<Words> rules = tunnel_packets();
    if (trusts_all()) {
      rules.push_back(from_bond() + kAccept);
      return add_chain(filter_, config_, "IN", "INPUT", std::move(rules));
    }
    rules.push_back(from_bond() + kEstablished);
    if (facts_.speed_test_port != 0) rules.push_back(speed_test());
    rules.push_back(destination(host(config_.bond.address.address)) + from_bond() +
                    Words{"-p", "icmp", "-m", "icmp", "--icmp-type", "8"} + kAccept);
    if (takes_forwards()) rules.push_back(forwarded({}));
    add_chain(filter_, config_, "IN", "INPUT", std::move(rules));

    // Last, so that the admin's own rules may let in more. To the addresses by which the Internet knows the
    // VPS its own rules apply, for the office as for all.
    std::vector<Words> last;
    if (!is_client()) {
      for (const IpPrefix& address : public_addresses())
        last.push_back(destination(address) + from_bond() + Words{"-j", "RETURN"});
    }
    last.push_back(from_bond() + kDropNew);
    add_chain(filter_, config_, "DIN", "INPUT", std::move(last), Place::kLast);
  }

  // The VPS hears anybody at the tunnels' ports. The office has asked first, so that nobody reaches
  // another port of it from there.
  [[nodiscard]] std::vector<Words> tunnel_packets() const {
    std::vector<Words> rules;
    for (const Tunnel& tunnel : tunnels_) {
      const std::string port = fmt::format("{}", tunnel.port);
      if (!is_client()) {
        rules.push_back(listen_address() + proto(model::Protocol::kUdp) + Words{"--dport", port} + kAccept);
        continue;
      }
      for (const IpAddress& server : facts_.server_addresses) {
        if (!server.is_v4()) continue;
        rules.push_back(source(host(server)) + proto(model::Protocol::kUdp) +
                        Words{"--sport", port, "-m", "conntrack", "--ctstate", "ESTABLISHED"} + kAccept);
      }
    }
    return rules;
  }

  // From one end of the bond to the other, while `bondd speedtest` runs at the other one.
  [[nodiscard]] Words speed_test() const {
    return source(host(config_.bond.peer)) + destination(host(config_.bond.address.address)) + from_bond() +
           proto(model::Protocol::kTcp) + Words{"--dport", fmt::format("{}", facts_.speed_test_port)} +
           kAccept;
  }

  [[nodiscard]] bool takes_forwards() const {
    return is_client() && config_.bond.from_bond == model::FromBond::kForwards;
  }

  // What the VPS forwards keeps its client's address, which the VPS's own programs do not have.
  [[nodiscard]] Words forwarded(const Words& to) const {
    return Words{"!"} + source(config_.bond.address.network()) + to + from_bond() +
           Words{"-m", "conntrack", "--ctstate", "NEW"} + kAccept;
  }

  // By which the Internet knows the VPS: where it listens, and what the devices to the Internet have.
  [[nodiscard]] std::vector<IpPrefix> public_addresses() const {
    std::set<IpPrefix> out;
    for (const IpAddress& address : facts_.server_addresses) {
      if (address.is_v4() && !address.is_unspecified()) out.insert(host(address));
    }
    const std::vector<std::string> outward =
        config_.masquerade.empty() ? internet_devices(config_, facts_.network) : config_.masquerade;
    for (const netlink::Address& address : facts_.network.addresses) {
      const bool is_outward = std::find(outward.begin(), outward.end(), address.device) != outward.end();
      if (is_outward && address.prefix.address.is_v4()) out.insert(host(address.prefix.address));
    }
    return {out.begin(), out.end()};
  }

  // The one address at which the VPS listens; nothing when it listens at all.
  [[nodiscard]] std::optional<IpAddress> listens_at() const {
    for (const IpAddress& address : facts_.server_addresses) {
      if (address.is_v4() && !address.is_unspecified()) return address;
    }
    return std::nullopt;
  }
  [[nodiscard]] Words listen_address() const {
    const auto address = listens_at();
    return address ? destination(host(*address)) : Words{};
  }

  // filter FORWARD. The office may send anything through the bond; the VPS lets out what has an address of
  // the office. From outside comes in only what is forwarded.
  void add_forward() {
    std::vector<Words> rules = is_client() ? forward_at_office() : forward_at_vps();
    add_chain(filter_, config_, "FWD", "FORWARD", std::move(rules));
    if (trusts_all()) return;
    // Last, as above. What the VPS sends elsewhere from the bond has an address of the office (mangle).
    const std::string& bond = config_.bond.interface;
    add_chain(filter_, config_, "DFWD", "FORWARD", {Words{is_client() ? "-i" : "-o", bond} + kDropNew},
              Place::kLast);
  }

  [[nodiscard]] std::vector<Words> forward_at_office() const {
    const std::string& bond = config_.bond.interface;
    std::vector<Words> rules;
    add_resets(rules);
    rules.push_back(from_bond() + (trusts_all() ? kAccept : kEstablished));
    if (takes_forwards()) {
      // To the LAN only: the office's lines are no way out for the VPS.
      for (const IpPrefix& inside : inside_networks(config_, facts_.network, ""))
        rules.push_back(forwarded(destination(inside)));
    }
    rules.push_back(Words{"!", "-i", bond, "-o", bond} + kAccept);
    for (const auto& [n, device] : steered_wans()) {
      rules.push_back(Words{"-o", device} + policy_mark(n) + kAccept);
      rules.push_back(Words{"-i", device} + kEstablished);
    }
    return rules;
  }

  [[nodiscard]] std::vector<Words> forward_at_vps() const {
    const std::string& bond = config_.bond.interface;
    std::vector<Words> rules;
    for (const std::string& device : config_.masquerade) {
      for (const IpPrefix& prefix : inside())
        rules.push_back(source(prefix) + Words{"-i", bond, "-o", device} + kAccept);
    }
    rules.push_back(Words{"-i", bond} + kEstablished);
    rules.push_back(Words{"-o", bond} + kEstablished);
    for (const model::Forward& forward : config_.forwards) {
      rules.push_back(destination(host(forward.to)) + Words{"-o", bond} + proto(forward.proto) +
                      Words{"--dport", ports(forward.to_port.value_or(forward.port))} + kAccept);
    }
    return rules;
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

  // At the VPS: the office's networks, by IPv4.
  [[nodiscard]] std::vector<IpPrefix> inside() const {
    std::vector<IpPrefix> out{config_.bond.address.network()};
    std::copy_if(config_.through_bond.begin(), config_.through_bond.end(), std::back_inserter(out),
                 [](const IpPrefix& prefix) { return prefix.address.is_v4(); });
    return out;
  }

  // nat POSTROUTING: steered traffic takes the address towards its gateway, the bond's that of the VPS.
  void add_source_nat() {
    std::vector<Words> rules;
    for (const auto& [n, device] : translated_wans()) {
      rules.push_back(Words{"-o", device} + policy_mark(n) + Words{"-j", "MASQUERADE"});
    }
    for (const std::string& device : config_.masquerade) {
      for (const IpPrefix& prefix : inside())
        rules.push_back(source(prefix) + Words{"-o", device, "-j", "MASQUERADE"});
    }
    if (!config_.forwards.empty()) add_hairpin(rules);
    add_chain(nat_, config_, "SNAT", "POSTROUTING", std::move(rules));
  }

  // The office asks for its own service by the VPS's address: the answer must come back by the VPS,
  // so here, and only here, the client's address is not kept. It becomes the one that was asked, not the
  // bond's: what comes from that is a program of the VPS to the office.
  void add_hairpin(std::vector<Words>& rules) const {
    std::optional<IpAddress> known = listens_at();
    if (const auto all = public_addresses(); !known && !all.empty()) known = all.front().address;
    const Words address =
        known ? Words{"-j", "SNAT", "--to-source", to_string(*known)} : Words{"-j", "MASQUERADE"};
    for (const IpPrefix& prefix : inside()) {
      if (prefix.is_default()) continue;
      rules.push_back(source(prefix) +
                      Words{"-o", config_.bond.interface, "-m", "conntrack", "--ctstate", "DNAT"} + address);
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
