// Rules that look at the machine, through CheckContext. What may change by itself (a device, an address,
// a gateway) is a warning, and that WAN waits; what breaks the whole site until the file is edited is an
// error.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>

#include "bondd/base/text.h"
#include "bondd/config/check.h"
#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/foreign.h"
#include "bondd/plan/lans.h"
#include "bondd/plan/processes.h"
#include "bondd/plan/routing.h"
#include "bondd/plan/tunnels.h"

namespace bondd::config {
namespace {

// A network device with what is on it.
struct Device {
  std::string name;
  std::vector<IpPrefix> addresses;  // with host bits
  std::vector<IpAddress> peers;     // far ends of point-to-point links
};

std::vector<Device> devices_of(const netlink::Snapshot& network) {
  std::vector<Device> devices;
  for (const netlink::Link& link : network.links) {
    Device device{link.name, {}, {}};
    for (const netlink::Address& address : network.addresses) {
      if (address.device != link.name) continue;
      device.addresses.push_back(address.prefix);
      if (address.peer) device.peers.push_back(*address.peer);
    }
    devices.push_back(std::move(device));
  }
  return devices;
}

std::string join_addresses(const Device& device) {
  std::string out;
  for (const IpPrefix& prefix : device.addresses) {
    out += (out.empty() ? "" : ", ") + to_string(prefix);
  }
  return out;
}

class Machine {
 public:
  Machine(const Sections& sections, const model::Config& config, const CheckContext& context, Report& report)
      : sections_(sections), config_(config), context_(context), report_(report) {}

  void run() {
    auto network = context_.network();
    if (!network) return;
    network_ = std::move(*network);
    devices_ = devices_of(network_);
    check_bond_name();
    check_bond();
    check_routes();
    if (sections_.side == Side::kClient) {
      check_server();
      for (std::size_t i = 0; i < sections_.wans.size(); ++i) check_wan(i);
      check_shared_exits();
      check_is_here();
    }
    if (sections_.side == Side::kServer) {
      check_is_no_office();
      if (!is_elsewhere_) check_listen_address();
      if (!is_elsewhere_) check_masquerade();
      check_forwards();
    }
    check_bond_mtu();
  }

 private:
  // -- devices ---------------------------------------------------------------------

  [[nodiscard]] const Device* find(std::string_view name) const {
    const auto found =
        std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) { return d.name == name; });
    return found == devices_.end() ? nullptr : &*found;
  }

  [[nodiscard]] std::string absent(const std::string& name, std::string_view until) const {
    std::vector<std::string_view> names;
    for (const Device& device : devices_) {
      if (device.name != "lo") names.emplace_back(device.name);
    }
    const std::string_view meant = likely_meant(name, names);
    return fmt::format("this machine has no interface {} now ({}); {}", in_quotes(name),
                       meant.empty() ? fmt::format("it has {}", fmt::join(names, ", "))
                                     : fmt::format("did you mean \"{}\"?", meant),
                       until);
  }

  // iptables and /proc/sys know a device by one name only. False: it is no altname.
  bool refuse_altname(const Position& where, std::string_view key, const std::string& name) {
    const std::string real = context_.device_with_altname(name);
    if (real.empty()) return false;
    report_.error(where, fmt::format("{} is another name (altname) of {}; write {}{}", in_quotes(name), real,
                                     key, in_quotes(real)));
    return true;
  }

  // The device with an address of that network, other than the bond's own.
  [[nodiscard]] const Device* holder_of(const IpAddress& address) const {
    const auto found = std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) {
      return d.name != config_.bond.interface && reaches(d, address);
    });
    return found == devices_.end() ? nullptr : &*found;
  }

  static bool reaches(const Device& device, const IpAddress& address) {
    return std::any_of(device.addresses.begin(), device.addresses.end(),
                       [&](const IpPrefix& p) { return p.contains(address); }) ||
           std::find(device.peers.begin(), device.peers.end(), address) != device.peers.end();
  }

  static bool has_address(const Device& device, const IpAddress& address) {
    return std::any_of(device.addresses.begin(), device.addresses.end(),
                       [&](const IpPrefix& p) { return p.address == address; });
  }

  [[nodiscard]] const Device* owner_of(const IpAddress& address) const {
    const auto found = std::find_if(devices_.begin(), devices_.end(),
                                    [&](const Device& d) { return has_address(d, address); });
    return found == devices_.end() ? nullptr : &*found;
  }

  // A link of this site, whatever its name: what is on it is the site's own.
  [[nodiscard]] bool is_of_this_site(const Device& device) const {
    if (device.name == config_.bond.interface) return true;
    const netlink::Link* const link = plan::find_link(network_, device.name);
    return link != nullptr && link->alias == model::link_alias(config_.site);
  }

  void check_bond_is_no_altname() {
    const std::string& name = config_.bond.interface;
    const std::string real = context_.device_with_altname(name);
    if (real.empty()) return;
    report_.error(sections_.bond.at("interface"),
                  fmt::format("{} is another name (altname) of {}; choose another "
                              "name for interface",
                              in_quotes(name), real));
  }

  // `up` refuses the same; another bondd may have the name, or the bond of somebody else.
  void check_bond_name() {
    const netlink::Link* const link = plan::find_link(network_, config_.bond.interface);
    if (config_.bond.interface == "lo") return;  // a name of the kernel's own, said already
    if (link != nullptr && link->alias == model::link_alias(config_.site)) return;
    if (link == nullptr) return check_bond_is_no_altname();
    // A killed bondd's, netlink::is_half_made(): `up` knows whose.
    if (link->alias.empty() && link->group != 0) return;
    if (sections_.bond.has("interface") && !sections_.bond.get<std::string>("interface")) return;
    report_.error(sections_.bond.at("interface"), plan::link_taken(config_, *link));
  }

  // " of the site two", if the device is that of another site.
  [[nodiscard]] std::string of_site(const Device& device) const {
    const netlink::Link* const link = plan::find_link(network_, device.name);
    const bool is_site = link != nullptr && link->alias.starts_with("bondd:");
    return is_site ? " of the site " + link->alias.substr(std::string_view("bondd:").size()) : "";
  }

  // A network on a WAN's device that the file does not expect there: mostly its gateway's choice, by DHCP,
  // which may be another tomorrow.
  [[nodiscard]] bool comes_from_a_gateway(const Device& device, const IpPrefix& network) const {
    if (sections_.side != Side::kClient || config_.wans.size() > model::kMaxWans) return false;
    const bool expected = std::any_of(config_.wans.begin(), config_.wans.end(), [&](const model::Wan& wan) {
      return (wan.gateway && network.contains(*wan.gateway)) || (wan.bind && *wan.bind == network.address);
    });
    return !expected && plan::is_from_a_gateway(config_, network_, device.name);
  }

  void check_bond() {
    const auto own = sections_.bond.get<IpPrefix>("address");
    if (!own) return;
    for (const Device& device : devices_) {
      if (device.name == "lo" || is_of_this_site(device)) continue;
      for (const IpPrefix& other : device.addresses) {
        if (!overlap(other, *own)) continue;
        const Position at = sections_.bond.at("address");
        const std::string what = fmt::format("{} overlaps with {} on {}{}", to_string(*own), to_string(other),
                                             device.name, of_site(device));
        if (comes_from_a_gateway(device, other)) {
          report_.warning(at,
                          fmt::format("{} now; if that lasts, take another network for the bond, the same "
                                      "on both ends",
                                      what));
        } else {
          report_.error(at, fmt::format("{}; take a network for the bond that is used nowhere else, the same "
                                        "on both ends",
                                        what));
        }
      }
    }
  }

  void check_server() {
    const auto text = sections_.server.get<std::string>("address");
    const auto address = text ? parse_ip(*text) : Result<IpAddress>(failure(""));
    const Device* const own = address ? owner_of(*address) : nullptr;
    if (address && own == nullptr) check_server_is_outside(*address);
    if (own == nullptr || is_of_this_site(*own)) return;
    report_.error(sections_.server.at("address"),
                  fmt::format("address = \"{}\" is this machine's own (on {}); write the VPS's, or, if this "
                              "machine is the VPS, take its file, the one with role = \"server\"",
                              to_string(*address), own->name));
  }

  // No line leads to a machine in the LAN.
  void check_server_is_outside(const IpAddress& address) {
    const Device* const near = holder_of(address);
    if (near == nullptr || is_of_this_site(*near) || plan::is_wan_device(config_, network_, near->name))
      return;
    report_.warning_of_the_moment(
        sections_.server.at("address"),
        fmt::format(
            "address = \"{}\" is in the network of {} now, where no WAN leads; write the VPS's Internet "
            "address",
            to_string(address), near->name));
  }

  // Whether what is written of a WAN's way out could be read.
  static bool is_readable(const Section& wan) {
    return !(wan.has("device") && !wan.get<std::string>("device")) &&
           !(wan.has("gateway") && !wan.get<IpAddress>("gateway")) &&
           !(wan.has("bind") && !wan.get<IpAddress>("bind"));
  }

  void check_wan(std::size_t i) {
    const Section& section = sections_.wans[i];
    const model::Wan& wan = config_.wans[i];
    if (!is_readable(section)) return;
    const Device* const device = find(wan.device);
    const Device* const own = wan.gateway ? owner_of(*wan.gateway) : nullptr;
    if (own != nullptr) {
      report_.warning_of_the_moment(
          section.at("gateway"),
          fmt::format("gateway = \"{}\" is this machine's own address (on {}) now; write the "
                      "gateway's, or give this machine another; {}",
                      to_string(*wan.gateway), own->name, kUntil));
    } else if (!wan.device.empty() && device == nullptr) {
      if (refuse_altname(section.at("device"), "device = ", wan.device)) return;
      report_.warning_of_the_moment(section.at("device"), absent(wan.device, kUntil));
    } else if (const plan::Exit exit = plan::find_exit(wan, network_); !exit.known()) {
      report_.warning_of_the_moment(where_of_exit(section), fmt::format("{}; {}", exit.waits, kUntil));
    }
    if (device != nullptr && wan.bind && !has_address(*device, *wan.bind)) {
      report_.warning(section.at("bind"),
                      fmt::format("bind = \"{}\" is not an address of {} now, which has {}",
                                  to_string(*wan.bind), device->name, join_addresses(*device)));
    }
    check_line_mtu(section, wan);
  }

  static Position where_of_exit(const Section& wan) {
    return wan.at(wan.has("gateway") ? "gateway" : "device");
  }

  void check_line_mtu(const Section& section, const model::Wan& wan) {
    const std::string device = plan::find_exit(wan, network_).device;
    const netlink::Link* const link = plan::find_link(network_, device);
    if (!wan.mtu || link == nullptr || *wan.mtu <= link->mtu.value_or(*wan.mtu)) return;
    report_.warning(section.at("mtu"), fmt::format("mtu = {} is more than {} has, which is {}; leave mtu out",
                                                   *wan.mtu, device, *link->mtu));
  }

  // What one of two WANs has learned may be what the other has written. Two that say the same in the file
  // are check.cc's.
  void check_shared_exits() {
    if (config_.wans.size() > model::kMaxWans) return;  // said already, and to compare all takes too long
    for (const plan::SharedExit& shared : plan::shared_exits(config_.wans, network_)) {
      const Section& wan = sections_.wans[shared.wan];
      const Section& other = sections_.wans[shared.other];
      if (!is_readable(wan) || !is_readable(other)) continue;
      const bool both_written = wan.has("gateway") && other.has("gateway");
      const bool both_learned = !wan.has("gateway") && !other.has("gateway") &&
                                config_.wans[shared.wan].device == config_.wans[shared.other].device;
      if (both_written || both_learned) continue;
      report_.warning_of_the_moment(where_of_exit(wan), plan::one_line(config_, shared));
    }
    for (const auto& [wan, text] : plan::one_modem(config_.wans, network_))
      report_.warning_of_the_moment(where_of_exit(sections_.wans[wan]), text);
  }

  // A file none of whose WANs has to do with this machine is likely meant for another one.
  void check_is_here() {
    const bool any = std::any_of(config_.wans.begin(), config_.wans.end(), [&](const model::Wan& wan) {
      if (!wan.device.empty() && find(wan.device) == nullptr) return false;
      return !wan.gateway || holder_of(*wan.gateway) != nullptr || plan::find_exit(wan, network_).known();
    });
    if (any || config_.wans.empty()) return;
    report_.warning_of_the_moment(
        sections_.root.at("role"),
        "this machine has no interface and no network of any WAN in this file; is it the file of "
        "another machine? The office's server takes the file with role = \"client\", the VPS the one "
        "with role = \"server\"");
  }

  // --- through_bond ---

  void check_routes() {
    const auto networks = sections_.routes.get<std::vector<IpPrefix>>("through_bond");
    if (!networks) return;
    const Node& array = sections_.routes.node().find("through_bond")->value;
    for (std::size_t i = 0; i < networks->size(); ++i) {
      if (is_on_this_side(array.items[i].position, (*networks)[i])) continue;
      if (sections_.side == Side::kServer) check_own_way(array.items[i].position, (*networks)[i]);
    }
  }

  // A network of this machine's own, or a part of one, is not behind the bond.
  bool is_on_this_side(Position at, const IpPrefix& network) {
    for (const Device& device : devices_) {
      if (device.name == "lo" || is_of_this_site(device)) continue;
      for (const IpPrefix& own : device.addresses) {
        if (!own.contains(network)) continue;
        const bool part = own.length < network.length;
        if (comes_from_a_gateway(device, own)) {
          report_.warning(at,
                          fmt::format("\"{}\" is {}the network {} that {} has now; it goes through the bond "
                                      "all the same",
                                      to_string(network), part ? "a part of " : "", to_string(own.network()),
                                      device.name));
          continue;
        }
        report_.error(at, fmt::format("\"{}\" is {}{}'s own network{}, on this side of the bond; {}",
                                      to_string(network), part ? "a part of " : "", device.name,
                                      part ? " " + to_string(own.network()) : "", other_side()));
        is_elsewhere_ = sections_.side == Side::kServer;
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] std::string_view other_side() const {
    return sections_.side == Side::kServer
               ? "is this machine the office's? Then this is the other end's file: the office has the one "
                 "with "
                 "role = \"client\". On the VPS, write the office's LAN here; if both ends have the same "
                 "network, one of them must take another"
               : "the line belongs in the server's file";
  }

  // The VPS's own way to the Internet must not lead into the bond: then nobody reaches it any more.
  void check_own_way(Position at, const IpPrefix& network) {
    if (network.length < kShortestLan) return;  // traffic.cc says so
    const auto refuse = [&](const IpAddress& address, std::string_view what, const std::string& device) {
      report_.error(at, fmt::format("\"{}\" holds {}, {} (on {}): this server would no longer be reached; "
                                    "write the office's LAN alone",
                                    to_string(network), to_string(address), what, device));
    };
    for (const netlink::Route& route : network_.routes) {
      if (!route.destination.is_default() || route.protocol == model::kProtocol) continue;
      if (route.gateway && network.contains(*route.gateway)) {
        return refuse(*route.gateway, "this server's own gateway", route.device);
      }
      const Device* const device = find(route.device);
      if (device == nullptr || is_of_this_site(*device)) continue;
      for (const IpPrefix& own : device->addresses) {
        if (network.contains(own.address))
          return refuse(own.address, "this server's own address", route.device);
      }
    }
  }

  // --- the VPS ---

  // Several lines, each with a gateway of private use, are an office's.
  void check_is_no_office() {
    std::vector<std::string> lines;
    for (const netlink::Route& route : network_.routes) {
      const bool counts = route.table == netlink::kMainTable && route.destination.is_default() &&
                          route.protocol != model::kProtocol && route.gateway &&
                          plan::is_private(IpPrefix{*route.gateway, route.gateway->bits()});
      const std::string line =
          counts ? fmt::format("{} on {}", to_string(*route.gateway), route.device) : std::string();
      if (counts && std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
    }
    const bool said = std::any_of(sections_.wans.begin(), sections_.wans.end(),
                                  [](const Section& wan) { return wan.has("device") || wan.has("gateway"); });
    if (lines.size() < 2 || said) return;
    report_.warning(
        sections_.root.at("role"),
        fmt::format("role = \"server\", but this machine has several gateways, as an office has ({}); "
                    "if it is the office, write role = \"client\"; one end must be the client",
                    fmt::join(lines, ", ")));
  }

  void check_listen_address() {
    const auto text = sections_.server.get<std::string>("address");
    const auto address = text ? parse_ip(*text) : Result<IpAddress>(failure(""));
    if (!address || address->is_unspecified() || owner_of(*address) != nullptr) return;
    report_.warning(
        sections_.server.at("address"),
        fmt::format("{} is not an address of this machine now; bondd listens there once it comes; if the VPS "
                    "is behind NAT, delete this line, to listen on all addresses",
                    to_string(*address)));
  }

  void check_masquerade() {
    const std::vector<std::string> out = plan::internet_devices(config_, network_);
    const std::string written =
        out.empty() ? "[\"eth0\"]" : fmt::format("[\"{}\"]", fmt::join(out, "\", \""));
    if (!sections_.nat.has("masquerade")) {
      report_.warning(
          sections_.nat.node().position,
          fmt::format("there is no [nat]: what the office sends to the Internet keeps its private "
                      "address and gets no answer; write [nat] and masquerade = {}",
                      written));
      return;
    }
    const auto names = sections_.nat.get<std::vector<std::string>>("masquerade");
    if (!names) return;
    const Node& array = sections_.nat.node().find("masquerade")->value;
    for (std::size_t i = 0; i < names->size(); ++i) {
      const std::string& name = (*names)[i];
      if (find(name) == nullptr && !refuse_altname(array.items[i].position, "", name))
        report_.warning(array.items[i].position, absent(name, "nothing leaves by it"));
    }
    std::vector<std::string> left_out;
    std::copy_if(out.begin(), out.end(), std::back_inserter(left_out), [&](const std::string& device) {
      return std::find(names->begin(), names->end(), device) == names->end();
    });
    if (left_out.empty()) return;
    report_.warning(array.position,
                    fmt::format("the Internet is reached by {}, which masquerade does not name: the office's "
                                "traffic gets no answer; write masquerade = [\"{}\"]",
                                fmt::join(left_out, " and "), fmt::join(out, "\", \"")));
  }

  // --- services ---

  // A forwarded port is the office's from then on, also when a program here has it.
  void check_forwards() {
    if (sections_.forwards.empty()) return;
    const auto listeners = context_.listeners();
    for (const Section& section : sections_.forwards) {
      const auto range = section.get<model::PortRange>("port");
      const auto proto = section.get<std::string>("proto");
      if (!range || !proto) continue;
      const auto wanted = *proto == "udp" ? model::Protocol::kUdp : model::Protocol::kTcp;
      std::vector<std::string> taken;
      for (const CheckContext::Listener& one : listeners) {
        const bool ours = wanted == model::Protocol::kUdp && is_tunnel_port(one.port);
        if (one.proto != wanted || one.port < range->first || one.port > range->last || ours) continue;
        taken.push_back(service_name(one.port, *proto));
      }
      if (!taken.empty()) say_taken(section.at("port"), *proto, taken);
    }
  }

  void say_taken(Position at, std::string_view proto, const std::vector<std::string>& taken) {
    constexpr std::size_t kShown = 5;
    const std::vector<std::string> shown(
        taken.begin(), taken.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, taken.size())));
    report_.warning(
        at, fmt::format("programs on this machine wait for connections at {} port{} {}{}; from outside "
                        "they would no longer be reached; leave their ports out",
                        proto, taken.size() == 1 ? "" : "s", fmt::join(shown, ", "),
                        taken.size() > kShown ? ", …" : ""));
  }

  // "22 (ssh)"
  static std::string service_name(std::uint16_t port, const std::string& proto) {
    const servent* const service = getservbyport(htons(port), proto.c_str());
    return service == nullptr ? fmt::format("{}", port) : fmt::format("{} ({})", port, service->s_name);
  }

  [[nodiscard]] bool is_tunnel_port(std::uint16_t port) const {
    if (config_.wans.size() > model::kMaxWans) return false;
    const auto tunnels = plan::tunnels(config_);
    return std::any_of(tunnels.begin(), tunnels.end(), [&](const plan::Tunnel& t) { return t.port == port; });
  }

  void check_bond_mtu() {
    if (!config_.bond.mtu || config_.wans.empty() || config_.wans.size() > model::kMaxWans) return;
    model::Config computed = config_;
    computed.bond.mtu.reset();
    model::Facts facts;
    facts.network = network_;
    if (const auto server = parse_ip(config_.server.address)) facts.server_addresses = {*server};
    const std::uint32_t fits = plan::bond_mtu(computed, facts);
    if (*config_.bond.mtu <= fits) return;
    report_.warning(
        sections_.bond.at("mtu"),
        fmt::format("mtu = {} is more than fits the lines, which is {}: packets would be cut in two outside "
                    "the tunnels, or lost; leave mtu out",
                    *config_.bond.mtu, fits));
  }

  static constexpr std::string_view kUntil = "the WAN waits until that changes, the others run";

  const Sections& sections_;
  const model::Config& config_;
  const CheckContext& context_;
  Report& report_;
  netlink::Snapshot network_;
  std::vector<Device> devices_;
  bool is_elsewhere_ = false;  // the server's file names a network of this machine as the office's
};

}  // namespace

void check_machine(const Sections& sections, const model::Config& config, const CheckContext& context,
                   Report& report) {
  Machine(sections, config, context, report).run();
}

}  // namespace bondd::config
