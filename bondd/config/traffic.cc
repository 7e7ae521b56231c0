// Rules about what is routed, steered, forwarded and translated.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "bondd/base/text.h"
#include "bondd/config/rule_set.h"
#include "bondd/model/ownership.h"
#include "bondd/plan/lans.h"
#include "bondd/plan/tunnels.h"

namespace bondd::config {
namespace {

constexpr unsigned kLastPort = 65535;

class Traffic : private RuleSet {
 public:
  Traffic(const Sections& sections, const model::Config& config, Report& report)
      : RuleSet(sections, config, report) {}

  void run() {
    check_routes();
    check_policies();
    check_extra_ports();
    check_forwards();
    check_masquerade();
  }

 private:
  void check_routes() {
    const Section& routes = sections_.routes;
    const auto networks = routes.get<std::vector<IpPrefix>>("through_bond");
    if (!networks) return;
    const Node& array = routes.node().find("through_bond")->value;
    for (std::size_t i = 0; i < networks->size(); ++i) {
      const IpPrefix& network = (*networks)[i];
      if (std::find(networks->begin(), networks->begin() + static_cast<std::ptrdiff_t>(i), network) !=
          networks->begin() + static_cast<std::ptrdiff_t>(i)) {
        report_.error(array.items[i].position,
                      fmt::format("through_bond has \"{}\" twice", to_string(network)));
      } else if (!network.is_default() && is_no_host(network.address) && network.length >= kShortestLan) {
        report_.error(array.items[i].position,
                      fmt::format("\"{}\" is no network of hosts; it is never routed", to_string(network)));
      } else if (is_server()) {
        check_office_network(array.items[i].position, network);
      }
    }
  }

  // The VPS sends the office's networks into the bond. What holds its own way to the Internet, or the
  // office's Internet addresses, would take the tunnels' own packets along.
  void check_office_network(Position at, const IpPrefix& network) {
    if (!network.address.is_v4()) return;  // check_ipv4() says so
    if (network.length < kShortestLan) {
      report_.error(at,
                    fmt::format("\"{}\" would lead this server's own Internet traffic into the bond, the "
                                "tunnels' too, and nobody could reach it; write the office's LAN here, for "
                                "example \"192.168.1.0/24\" (\"0.0.0.0/0\" belongs in the client's file)",
                                to_string(network)));
      return;
    }
    const auto text = sections_.server.get<std::string>("address");
    const auto listens = text ? parse_ip(*text) : Result<IpAddress>(failure(""));
    if (listens && network.contains(*listens)) {
      report_.error(
          at, fmt::format("\"{}\" holds {}, the address that this server listens on; write the office's "
                          "LAN alone",
                          to_string(network), to_string(*listens)));
    } else if (!plan::is_private(network)) {
      report_.warning(at, fmt::format("\"{}\" is a public network; right only if the office's LAN has these "
                                      "addresses: nothing else of the Internet with them would be reached",
                                      to_string(network)));
    }
  }

  void check_policies() {
    check_distinct<std::string>(sections_.policies, "name", [](const std::string& name) {
      return fmt::format("name = {} is taken", in_quotes(name));
    });
    std::vector<std::string_view> names;
    for (const model::Wan& wan : config_.wans) {
      if (!wan.name.empty()) names.push_back(wan.name);
    }
    for (const Section& policy : sections_.policies) {
      check_policy_wan(policy, names);
    }
  }

  void check_policy_wan(const Section& policy, const std::vector<std::string_view>& names) {
    const auto wan = policy.get<std::string>("wan");
    if (!wan || std::find(names.begin(), names.end(), *wan) != names.end()) return;
    const std::string_view meant = likely_meant(*wan, names);
    report_.error(policy.at("wan"),
                  meant.empty()
                      ? fmt::format("there is no WAN {}; known: {}", in_quotes(*wan), fmt::join(names, ", "))
                      : fmt::format("there is no WAN {}; did you mean \"{}\"?", in_quotes(*wan), meant));
  }

  void check_forwards() {
    for (std::size_t i = 0; i < sections_.forwards.size(); ++i) {
      const Section& section = sections_.forwards[i];
      const auto port = section.get<model::PortRange>("port");
      if (port) {
        check_forward_overlap(i, *port);
        check_forward_steals(section, *port);
      }
      if (const auto target = section.get<Target>("to")) check_target(section, *target, port);
    }
  }

  static bool overlap(const model::PortRange& a, const model::PortRange& b) {
    return a.first <= b.last && b.first <= a.last;
  }

  void check_forward_overlap(std::size_t i, const model::PortRange& port) {
    const auto& forwards = sections_.forwards;
    for (std::size_t j = 0; j < i; ++j) {
      const auto other = forwards[j].get<model::PortRange>("port");
      const auto proto = forwards[i].get<std::string>("proto");
      if (!other || !overlap(port, *other) || !proto || forwards[j].get<std::string>("proto") != proto)
        continue;
      report_.error(forwards[i].at("port"),
                    fmt::format("this port is forwarded already, in line {}; a port goes to "
                                "one place",
                                forwards[j].at("port").line));
      return;
    }
  }

  // A WAN with a larger weight has further tunnels, on ports of their own.
  [[nodiscard]] std::vector<plan::Tunnel> tunnels() const {
    const bool readable = std::all_of(config_.wans.begin(), config_.wans.end(),
                                      [](const model::Wan& wan) { return wan.port != 0; });
    const bool countable = !config_.wans.empty() && config_.wans.size() <= model::kMaxWans;
    return readable && countable ? plan::tunnels(config_) : std::vector<plan::Tunnel>{};
  }

  void check_forward_steals(const Section& section, const model::PortRange& port) {
    if (section.get<std::string>("proto") != "udp") return;
    for (const plan::Tunnel& tunnel : tunnels()) {
      if (!overlap(port, {tunnel.port, tunnel.port})) continue;
      const std::string why = tunnel.instance == 0 ? "" : ", which has several for its weight,";
      report_.error(section.at("port"),
                    fmt::format("UDP port {} is where the tunnel of {}{} arrives; forward "
                                "another",
                                tunnel.port, name_of(tunnel.wan - 1), why));
    }
  }

  // The further tunnels take the ports after the highest.
  void check_extra_ports() {
    if (!backend_is("openvpn-bond") || tunnels().empty()) return;
    const unsigned extra = plan::ports_after_highest(config_.wans, plan::instance_counts(config_.wans));
    const auto highest =
        std::max_element(config_.wans.begin(), config_.wans.end(),
                         [](const model::Wan& a, const model::Wan& b) { return a.port < b.port; });
    if (highest->port + extra <= kLastPort) return;
    const auto i = static_cast<std::size_t>(highest - config_.wans.begin());
    report_.error(
        sections_.wans[i].at("port"),
        fmt::format("port = {} leaves no room: the weights or rates ask for more tunnels, on the {} ports "
                    "after it; write {} or less, on both ends",
                    highest->port, extra, kLastPort - extra));
  }

  void check_target(const Section& section, const Target& target,
                    const std::optional<model::PortRange>& port) {
    const auto size = [](const model::PortRange& range) { return range.last - range.first; };
    if (target.port && port && size(*target.port) > 0 && *target.port != *port) {
      report_.error(section.at("to"), "a range of ports keeps its numbers; write the address alone here");
    } else if (target.port && port && size(*port) > 0 && size(*target.port) == 0) {
      report_.error(section.at("to"),
                    "several ports cannot go to one; write the address alone here, the ports stay "
                    "the same");
    }
    const auto bond = sections_.bond.get<IpPrefix>("address");
    const auto networks = sections_.routes.get<std::vector<IpPrefix>>("through_bond");
    if (!bond || !networks) return;
    if (bond->address == target.address) {
      report_.error(section.at("to"),
                    fmt::format("to = \"{}\" is this end of the bond; write an address of the "
                                "office",
                                to_string(target.address)));
      return;
    }
    const bool reached = bond->contains(target.address) ||
                         std::any_of(networks->begin(), networks->end(), [&](const IpPrefix& network) {
                           return network.contains(target.address);
                         });
    if (reached) return;
    report_.error(section.at("to"), fmt::format("{} is not reached through the bond; add its network to "
                                                "through_bond",
                                                to_string(target.address)));
  }

  void check_masquerade() {
    const auto devices = sections_.nat.get<std::vector<std::string>>("masquerade");
    if (!devices) return;
    const Node& array = sections_.nat.node().find("masquerade")->value;
    for (std::size_t i = 0; i < devices->size(); ++i) {
      const auto here = devices->begin() + static_cast<std::ptrdiff_t>(i);
      if (std::find(devices->begin(), here, *here) != here) {
        report_.error(array.items[i].position, fmt::format("masquerade has {} twice", in_quotes(*here)));
      }
      if (*here == config_.bond.interface) {
        report_.error(array.items[i].position,
                      fmt::format("{} is the bond itself; write the device that leads to "
                                  "the Internet",
                                  in_quotes(*here)));
      }
    }
  }
};

}  // namespace

void check_traffic(const Sections& sections, const model::Config& config, Report& report) {
  Traffic(sections, config, report).run();
}

}  // namespace bondd::config
