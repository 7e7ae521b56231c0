#include "bondd/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/firewall.h"
#include "bondd/plan/foreign.h"
#include "bondd/plan/processes.h"
#include "bondd/plan/routing.h"
#include "bondd/plan/tunnels.h"

namespace bondd::plan {
namespace {

using model::Backend;
using model::Config;
using model::Facts;
using model::Role;
using netlink::Link;
using netlink::LinkKind;

constexpr std::uint32_t kTxQueueLength = 1000;  // packets; the recipe's
// The engine reads eagerly and keeps its own queues, so this one is only to bridge the
// time until it runs: 32 lost bursts of small packets and whole super-packets, 500 cost
// no latency (8 ms at the 95th percentile under a saturating flow, as with 128).
constexpr std::uint32_t kTunTxQueueLength = 500;

// A device's key under net.ipv4.conf.
std::string conf(const std::string& device, std::string_view key) {
  return fmt::format("net.ipv4.conf.{}.{}", device_key(device), key);
}

// The WANs' devices that are there, each once.
std::vector<std::string> wan_devices(const Config& config, const netlink::Snapshot& network) {
  std::vector<std::string> out;
  if (config.role == Role::kServer) return out;
  for (const model::Wan& wan : config.wans) {
    const std::string device = wan_device(wan, network);
    const bool there = std::any_of(network.links.begin(), network.links.end(),
                                   [&](const Link& link) { return link.name == device; });
    if (there && std::find(out.begin(), out.end(), device) == out.end()) out.push_back(device);
  }
  return out;
}

std::string value_of(const Facts& facts, const std::string& key) {
  const auto found = facts.sysctls.find(key);
  return found == facts.sysctls.end() ? "" : found->second;
}

// The devices by which forwarded packets come in besides the bond: the kernel asks only that one's setting.
std::vector<std::string> forwarding_devices(const Config& config, const netlink::Snapshot& network) {
  if (config.role == Role::kClient) return lan_devices(config, network);
  std::vector<std::string> out = internet_devices(config, network);
  for (const std::string& device : config.masquerade) {
    if (std::find(out.begin(), out.end(), device) == out.end()) out.push_back(device);
  }
  return out;
}

// Those that do not forward though the machine does: switched off one by one (systemd-networkd can), so that
// setting net.ipv4.ip_forward to what it is changes nothing.
std::vector<std::string> not_forwarding(const Config& config, const Facts& facts) {
  std::vector<std::string> out;
  if (value_of(facts, "net.ipv4.ip_forward") != "1") return out;
  for (const std::string& device : forwarding_devices(config, facts.network)) {
    if (value_of(facts, conf(device, "forwarding")) == "0") out.push_back(device);
  }
  return out;
}

// Forwarding first: switching it changes redirects and every device's forwarding as well
// (inet_forward_change in net/ipv4/devinet.c), so what it changes is written down and set too.
std::vector<model::Sysctl> plan_sysctls(const Config& config, const Facts& facts) {
  std::vector<model::Sysctl> out{{"net.ipv4.ip_forward", "1"},
                                 {"net.ipv4.conf.all.accept_redirects", "0", model::Need::kShould},
                                 {"net.ipv4.conf.all.send_redirects", "0", model::Need::kShould}};
  for (const netlink::Link& link : facts.network.links) {
    const std::string key = conf(link.name, "forwarding");
    if (value_of(facts, "net.ipv4.ip_forward") == "0" && value_of(facts, key) == "1")
      out.push_back({key, "1"});
  }
  for (const std::string& device : not_forwarding(config, facts))
    out.push_back({conf(device, "forwarding"), "1"});
  for (const std::string& device : wan_devices(config, facts.network)) {
    out.push_back({conf(device, "accept_redirects"), "0", model::Need::kShould});
    out.push_back({conf(device, "send_redirects"), "0", model::Need::kShould});
    // Strict reverse path filtering (1) drops the answers of steered traffic; loose (2) does not.
    // The larger of "all" and the device's counts.
    const bool strict = std::max(value_of(facts, "net.ipv4.conf.all.rp_filter"),
                                 value_of(facts, conf(device, "rp_filter"))) == "1";
    if (strict) out.push_back({conf(device, "rp_filter"), "2"});
  }
  return out;
}

// A new device's own value is that of "default", so the bond does not forward where that is off.
bool bond_does_not_forward(const Config& config, const Facts& facts) {
  return value_of(facts, "net.ipv4.ip_forward") == "1" &&
         (value_of(facts, "net.ipv4.conf.default.forwarding") == "0" ||
          value_of(facts, conf(config.bond.interface, "forwarding")) == "0");
}

// A client of a [[forward]] may be anywhere: also where another way than the bond leads to, which strict
// reverse path filtering takes for a forgery. What really is forged, our own networks as source, the firewall
// drops.
bool bond_is_strict(const Config& config, const Facts& facts) {
  return config.role == Role::kClient &&
         (std::max(value_of(facts, "net.ipv4.conf.all.rp_filter"),
                   value_of(facts, "net.ipv4.conf.default.rp_filter")) == "1" ||
          value_of(facts, conf(config.bond.interface, "rp_filter")) == "1");
}

std::vector<model::Sysctl> plan_device_sysctls(const Config& config, const Facts& facts) {
  const std::string& bond = config.bond.interface;
  std::vector<model::Sysctl> out;
  if (bond_does_not_forward(config, facts)) out.push_back({conf(bond, "forwarding"), "1"});
  if (bond_is_strict(config, facts)) out.push_back({conf(bond, "rp_filter"), "2"});
  // The firewall is IPv4's, and so is all that a plan sends through the bond: nothing else shall pass there.
  if (config.bond.from_bond != model::FromBond::kAll)
    out.push_back({fmt::format("net.ipv6.conf.{}.disable_ipv6", device_key(bond)), "1", model::Need::kMay});
  return out;
}

std::vector<Link> plan_bond(const Config& config, const Facts& facts, const std::vector<Tunnel>& tunnels,
                            std::uint32_t mtu) {
  Link bond;
  bond.name = config.bond.interface;
  bond.kind = LinkKind::kBond;
  bond.alias = model::link_alias(config.site);
  bond.up = true;
  bond.mtu = mtu;
  // Cloned machines have equal addresses: the two ends differ by their address inside.
  bond.mac = mac_from_seed(fmt::format("{} {}", config.bond.interface, to_string(config.bond.address)));
  bond.bond = netlink::BondOptions{
      config.bond.mode,
      config.bond.hash_policy,
      static_cast<std::uint32_t>(config.bond.arp_interval / std::chrono::milliseconds(1)),
      {config.bond.peer}};
  // balance-rr deals out what it is given. A train of packets handed over as one (TSO, GRO) would go by
  // one line as a whole, and the packets of a flow arrive out of order by its length.
  if (config.bond.mode == netlink::BondMode::kBalanceRr) bond.gso_max_segs = 1;
  std::vector<Link> out{bond};
  // With no tunnel alive there is nothing better: then all stay in the bond.
  const bool all_dead = std::all_of(tunnels.begin(), tunnels.end(), [&](const Tunnel& tunnel) {
    return facts.dead.contains(
        model::tap_name(facts.slot, config.wans[tunnel.wan - 1].name, tunnel.instance));
  });
  for (const Tunnel& tunnel : tunnels) {
    Link tap;
    tap.name = model::tap_name(facts.slot, config.wans[tunnel.wan - 1].name, tunnel.instance);
    tap.kind = LinkKind::kTap;
    tap.alias = bond.alias;
    tap.master = all_dead || !facts.dead.contains(tap.name) ? bond.name : "";
    tap.up = true;
    tap.mtu = mtu;
    tap.txqueuelen = kTxQueueLength;
    tap.owner_uid = facts.unprivileged_uid;
    tap.no_ipv6_address = true;
    out.push_back(tap);
  }
  return out;
}

Link plan_tun(const Config& config, std::uint32_t mtu) {
  Link tun;
  tun.name = config.bond.interface;
  tun.kind = config.mlvpn.tap ? LinkKind::kTap : LinkKind::kTun;
  tun.alias = model::link_alias(config.site);
  tun.up = true;
  tun.mtu = mtu;
  tun.txqueuelen = kTunTxQueueLength;
  return tun;
}

// WANs that wait, and WANs that turn out to be one line.
std::vector<Note> wan_notes(const Config& config, const Facts& facts) {
  std::vector<Note> notes;
  if (config.role == Role::kServer) return notes;
  for (const model::Wan& wan : config.wans) {
    const Exit exit = find_exit(wan, facts.network);
    if (!exit.known()) notes.push_back({wan.name, exit.waits, true});
  }
  for (const SharedExit& shared : shared_exits(config.wans, facts.network)) {
    notes.push_back({config.wans[shared.wan].name, one_line(config, shared), false});
  }
  for (auto& [wan, text] : one_modem(config.wans, facts.network))
    notes.push_back({config.wans[wan].name, std::move(text), false});
  return notes;
}

// A server marks only its tunnels' own packets, and does without where there is no room.
Result<> check_marks(const Config& config, const Facts& facts) {
  const unsigned room = model::mark_slots(config.mark_mask);
  if (config.role == Role::kServer || facts.slot < room) return {};
  return failure(
      fmt::format("the bits {:#x} of marks have room for {} sites on this machine, and this would be "
                  "number {}; write one of more bits, the same in all files: [marks] mask",
                  config.mark_mask, room, facts.slot + 1));
}

}  // namespace

std::string device_key(std::string device) {
  std::replace(device.begin(), device.end(), '.', '/');
  return device;
}

bool looks_at_marks(const Facts& facts, const std::string& device) {
  return value_of(facts, "net.ipv4.conf.all.src_valid_mark") == "1" ||
         value_of(facts, conf(device, "src_valid_mark")) == "1";
}

std::vector<std::string> relevant_sysctls(const Config& config, const netlink::Snapshot& network) {
  std::vector<std::string> out{"net.ipv4.ip_forward",
                               "net.ipv4.conf.all.accept_redirects",
                               "net.ipv4.conf.all.send_redirects",
                               "net.ipv4.conf.all.rp_filter",
                               "net.ipv4.conf.default.rp_filter",
                               "net.ipv4.conf.all.src_valid_mark",
                               "net.ipv4.conf.default.forwarding",
                               conf(config.bond.interface, "forwarding"),
                               conf(config.bond.interface, "rp_filter")};
  for (const netlink::Link& link : network.links) {
    out.push_back(conf(link.name, "forwarding"));
    if (config.role == Role::kClient) out.push_back(conf(link.name, "src_valid_mark"));
  }
  for (const std::string& device : wan_devices(config, network)) {
    for (const char* key : {"accept_redirects", "send_redirects", "rp_filter"})
      out.push_back(conf(device, key));
  }
  return out;
}

std::string to_string(const Note& note) {
  return note.wan.empty() ? note.text : fmt::format("{}: {}", note.wan, note.text);
}

void plan_settings(const Config& config, const Facts& facts, model::DesiredState& state) {
  state.sysctls = plan_sysctls(config, facts);
  state.device_sysctls = plan_device_sysctls(config, facts);
}

Result<Plan> plan(const Config& config, const Facts& facts) {
  Plan out;
  if (auto room = check_marks(config, facts); !room) return tl::make_unexpected(room.error());
  const std::vector<Tunnel> list = tunnels(config);
  const std::uint32_t mtu = bond_mtu(config, facts);
  plan_settings(config, facts, out.state);
  out.state.firewall = plan_firewall(config, facts, list);
  if (config.backend == Backend::kOpenVpnBond) {
    out.state.links = plan_bond(config, facts, list, mtu);
    auto processes = plan_processes(config, facts, list, mtu);
    if (!processes) return tl::make_unexpected(processes.error());
    out.state.processes = std::move(*processes);
  } else {
    out.state.links = {plan_tun(config, mtu)};
  }
  out.state.addresses = {netlink::Address{config.bond.interface, config.bond.address, std::nullopt}};
  Routing routing = plan_routing(config, facts);
  out.state.routes = std::move(routing.routes);
  out.state.rules = std::move(routing.rules);
  out.notes = wan_notes(config, facts);
  out.foreign = foreign_notes(config, facts);
  return out;
}

}  // namespace bondd::plan
