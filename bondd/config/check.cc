// Rules that span several keys. A rule speaks only when every key that it compares was
// read without a mistake.
#include "bondd/config/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "bondd/base/text.h"
#include "bondd/model/ownership.h"

namespace bondd::config {
namespace {

// Beyond this, equal shares for unequal lines are slower than the better line alone
// (measured: 4 and 1.6 Mbit/s give 2.5).
constexpr double kUnlike = 2.0;

// Keys of a WAN that one backend alone understands. The line may stay when the backend
// is changed for a try, so they are no mistake.
constexpr std::array<std::string_view, 4> kMlvpnOnly{"fallback_only", "timeout", "loss_tolerance",
                                                     "latency_tolerance"};

class Rules {
 public:
  Rules(const Sections& sections, const model::Config& config, Purpose purpose, Report& report)
      : sections_(sections), config_(config), purpose_(purpose), report_(report) {}

  void run() {
    check_ipv4();
    check_server();
    check_bond();
    check_wans();
    check_gateways();
    check_shares();
    check_routes();
    check_openvpn();
    check_mlvpn();
    check_policies();
    check_forwards();
    check_masquerade();
  }

 private:
  [[nodiscard]] bool is_client() const { return sections_.side == Side::kClient; }
  [[nodiscard]] bool is_server() const { return sections_.side == Side::kServer; }
  [[nodiscard]] bool backend_is(std::string_view name) const {
    return sections_.root.get<std::string>("backend") == name;
  }
  [[nodiscard]] std::string name_of(std::size_t wan) const {
    return config_.wans[wan].name.empty() ? fmt::format("WAN {}", wan + 1)
                                          : in_quotes(config_.wans[wan].name);
  }

  // Reports each section whose value of `key` an earlier one has already.
  template <typename T>
  void check_distinct(const std::vector<Section>& sections, std::string_view key,
                      const std::function<std::string(const T&)>& say) {
    for (std::size_t i = 0; i < sections.size(); ++i) {
      const auto value = sections[i].get<T>(key);
      for (std::size_t j = 0; value && j < i; ++j) {
        if (sections[j].get<T>(key) != value) continue;
        report_.error(sections[i].at(key),
                      fmt::format("{}, as in line {}; each {} needs its own", say(*value),
                                  sections[j].at(key).line, header(sections[i].schema())));
        break;
      }
    }
  }

  // Inside the bond and towards the boxes bondd sets IPv4 routes and rules only. What
  // would be left without them is refused, not ignored.
  void check_ipv4() {
    const auto refuse = [&](Position at, std::string_view what) {
      report_.error(at, fmt::format("{} is IPv6, which bondd does not carry yet; write an IPv4 one", what));
    };
    const auto own = sections_.bond.get<IpPrefix>("address");
    if (own && !own->address.is_v4()) refuse(sections_.bond.at("address"), "address");
    for (const Section& wan : sections_.wans) {
      const auto gateway = wan.get<IpAddress>("gateway");
      if (gateway && !gateway->is_v4()) refuse(wan.at("gateway"), "gateway");
    }
    if (const auto networks = sections_.routes.get<std::vector<IpPrefix>>("through_bond")) {
      const Node& array = sections_.routes.node().find("through_bond")->value;
      for (std::size_t i = 0; i < networks->size(); ++i) {
        if (!(*networks)[i].address.is_v4()) refuse(array.items[i].position, in_quotes(array.items[i].text));
      }
    }
    for (const Section& policy : sections_.policies) {
      for (const Section& match : matches_of(policy)) {
        for (const std::string_view key : {"source", "destination"}) {
          const auto prefix = match.get<IpPrefix>(key);
          if (prefix && !prefix->address.is_v4()) refuse(match.at(key), key);
        }
      }
    }
    for (const Section& forward : sections_.forwards) {
      const auto target = forward.get<Target>("to");
      if (target && !target->address.is_v4()) refuse(forward.at("to"), "to");
    }
  }

  void check_server() {
    const auto address = sections_.server.get<std::string>("address");
    if (!address) return;
    const Result<IpAddress> ip = parse_ip(*address);
    if (is_client() && ip && ip->is_unspecified()) {
      report_.error(sections_.server.at("address"),
                    fmt::format("address = {} is nobody's; write the VPS's address", in_quotes(*address)));
    }
    if (is_client() && ip && !ip->is_v4()) {
      report_.warning(
          sections_.server.at("address"),
          "tunnels are led to their boxes by IPv4 only; to an IPv6 address they all leave by this "
          "machine's own route");
    }
    if (is_server() && !ip) {
      report_.error(
          sections_.server.at("address"),
          fmt::format("address = {} is a name; a server listens on an address of its own, or on all "
                      "if the key is left out",
                      in_quotes(*address)));
    }
  }

  void check_bond() {
    const Section& bond = sections_.bond;
    if (const auto address = bond.get<IpPrefix>("address")) check_bond_address(*address);
    if (bond.has("xmit_hash_policy") &&
        bond.get<std::string>("mode").value_or("balance-rr") != "balance-xor") {
      report_.error(
          bond.at("xmit_hash_policy"),
          "xmit_hash_policy is for mode = \"balance-xor\" only; change the mode or take the line out");
    }
    const auto interface = bond.get<std::string>("interface").value_or("bond0");
    for (const Section& wan : sections_.wans) {
      if (wan.get<std::string>("device") != interface) continue;
      report_.error(wan.at("device"), fmt::format("device = {} is the bond itself; write the device that "
                                                  "leads to the box",
                                                  in_quotes(interface)));
    }
  }

  void check_bond_address(const IpPrefix& own) {
    const Section& bond = sections_.bond;
    const auto peer = bond.get<IpAddress>("peer");
    if (!own.address.is_v4()) return;  // check_ipv4() says so
    if (own.length == own.address.bits()) {
      report_.error(
          bond.at("address"),
          fmt::format("address = \"{}\" has no room for the peer; write the length of a network that "
                      "holds both ends, for example \"{}/{}\"",
                      to_string(own.address), to_string(own.address), own.address.bits() - 2));
      return;
    }
    if (is_reserved(own, own.address)) {
      report_.error(bond.at("address"), fmt::format("address = \"{}\" is {}'s network or broadcast address; "
                                                    "take one between the two",
                                                    to_string(own), to_string(own.network())));
    }
    if (!peer) return;
    if (*peer == own.address) {
      report_.error(bond.at("peer"), fmt::format("peer = \"{}\" is this end's own address; write the other "
                                                 "end's",
                                                 to_string(*peer)));
    } else if (!own.contains(*peer)) {
      report_.error(
          bond.at("peer"),
          fmt::format("peer = \"{}\" is outside {}, the network of address; both ends must be in it",
                      to_string(*peer), to_string(own.network())));
    } else if (is_reserved(own, *peer)) {
      report_.error(bond.at("peer"), fmt::format("peer = \"{}\" is {}'s network or broadcast address",
                                                 to_string(*peer), to_string(own.network())));
    }
  }

  // The first and last address of an IPv4 network belong to nobody (RFC 3021: but for /31).
  static bool is_reserved(const IpPrefix& network, const IpAddress& address) {
    if (!address.is_v4() || network.length >= 31) return false;
    if (address == network.network().address) return true;
    std::array<std::uint8_t, 4> last{};
    for (int i = 0; i < 4; ++i) {
      const int fixed = std::clamp(network.length - 8 * i, 0, 8);
      last[i] = static_cast<std::uint8_t>(network.network().address.data()[i] | (0xFF >> fixed));
    }
    return address == IpAddress::v4(last);
  }

  void check_wans() {
    const auto& wans = sections_.wans;
    if (wans.size() > model::kMaxWans) {
      report_.error(wans[model::kMaxWans].node().position,
                    fmt::format("these are {} WANs; a site has at most {}", wans.size(), model::kMaxWans));
    }
    check_distinct<std::string>(wans, "name", [](const std::string& name) {
      return fmt::format("name = {} is taken", in_quotes(name));
    });
    check_distinct<std::int64_t>(
        wans, "port", [](const std::int64_t& port) { return fmt::format("port = {} is taken", port); });
    for (const Section& wan : wans) {
      const auto bind = wan.get<IpAddress>("bind");
      if (bind && bind == wan.get<IpAddress>("gateway")) {
        report_.error(
            wan.at("bind"),
            fmt::format("bind = \"{}\" is the box's address; write this machine's own", to_string(*bind)));
      }
      for (const std::string_view key : kMlvpnOnly) {
        if (!backend_is("openvpn-bond") || !wan.has(key)) continue;
        report_.warning(wan.at(key),
                        fmt::format("openvpn-bond does not know {}; only backend = \"mlvpn\" does", key));
      }
    }
  }

  // Whether two WANs leave by the same device, as far as the file tells.
  [[nodiscard]] bool same_device(std::size_t i, std::size_t j) const {
    return config_.wans[i].device == config_.wans[j].device;
  }

  void check_gateways() {
    if (!is_client()) return;
    const auto& wans = sections_.wans;
    for (const Section& wan : wans) {
      const auto gateway = wan.get<IpAddress>("gateway");
      if (!gateway || to_string(*gateway) != config_.server.address) continue;
      report_.error(wan.at("gateway"),
                    fmt::format("gateway = \"{}\" is the VPS; write the box's address", to_string(*gateway)));
    }
    for (std::size_t i = 0; i < wans.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (!same_device(i, j)) continue;
        if (wans[i].has("gateway") != wans[j].has("gateway")) continue;
        if (!wans[i].has("gateway")) {
          report_.error(wans[i].node().position, two_defaults(i, j));
          break;
        }
        const auto gateway = wans[i].get<IpAddress>("gateway");
        if (!gateway || gateway != wans[j].get<IpAddress>("gateway")) continue;
        report_.error(
            wans[i].at("gateway"),
            fmt::format("gateway = \"{}\" is the box of {} too (line {}); two WANs by one box are one "
                        "line",
                        to_string(*gateway), name_of(j), wans[j].at("gateway").line));
        break;
      }
    }
  }

  [[nodiscard]] std::string two_defaults(std::size_t i, std::size_t j) const {
    const std::string& device = config_.wans[i].device;
    return fmt::format(
        "{} has no gateway, nor has {} (line {}): both would leave by the gateway that {} learned; "
        "write each box's address, for example gateway = \"192.168.1.254\"",
        name_of(i), name_of(j), sections_.wans[j].node().position.line,
        device.empty() ? "the machine" : device);
  }

  // A line's worth for the shares: weight, else the smaller ratio that its rates give.
  void check_shares() {
    check_shares_by("weight", [](const model::Wan& wan) { return wan.weight; });
    const auto bits = [](const std::optional<Rate>& rate) {
      return rate ? std::optional(static_cast<double>(rate->bits_per_second)) : std::nullopt;
    };
    check_shares_by("download", [&](const model::Wan& wan) { return bits(wan.download); });
    check_shares_by("upload", [&](const model::Wan& wan) { return bits(wan.upload); });
  }

  void check_shares_by(std::string_view key,
                       const std::function<std::optional<double>(const model::Wan&)>& worth) {
    std::optional<std::size_t> most, least, without;
    for (std::size_t i = 0; i < config_.wans.size(); ++i) {
      const auto value = worth(config_.wans[i]);
      if (!value) {
        if (!sections_.wans[i].has(key)) without = without.value_or(i);
        continue;
      }
      if (!most || *value > *worth(config_.wans[*most])) most = i;
      if (!least || *value < *worth(config_.wans[*least])) least = i;
    }
    if (!most) return;
    if (without) {
      report_.warning(sections_.wans[*without].node().position,
                      fmt::format("{} has no {}, while {} has; give it for all WANs or for none",
                                  name_of(*without), key, name_of(*most)));
    }
    const double ratio = *worth(config_.wans[*most]) / *worth(config_.wans[*least]);
    const bool in_turn = sections_.bond.get<std::string>("mode").value_or("balance-rr") == "balance-rr";
    if (ratio <= kUnlike || !in_turn || !backend_is("openvpn-bond")) return;
    report_.warning(
        sections_.wans[*least].at(key),
        fmt::format("{} and {} are too unlike for openvpn-bond ({:.1f} to 1): one connection may be "
                    "slower than over the better line alone; backend = \"mlvpn\" is made for such lines",
                    name_of(*most), name_of(*least), ratio));
  }

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
      }
    }
  }

  void check_openvpn() {
    if (!backend_is("openvpn-bond") || !auth_is_read()) return;
    const Section& section = sections_.openvpn;
    if (config_.openvpn.auth == model::OpenVpnAuth::kStaticKey) {
      if (!section.has("key")) {
        report_.error(section.at("auth"),
                      "[openvpn] has no key; write the shared key's file, key = \"bond.key\"");
      }
      for (const std::string_view key : {"fingerprint", "certificate"}) {
        if (!section.has(key)) continue;
        report_.warning(section.at(key), fmt::format("{} is not looked at with auth = \"static-key\"", key));
      }
    } else if (purpose_ != Purpose::kMakeKey && !section.has("fingerprint")) {
      report_.error(
          section.node().position,
          "[openvpn] has no fingerprint; run `bondd key FILE` on the other end and put the line that it "
          "prints here (or share a key as in old guides: auth = \"static-key\", key = \"bond.key\")");
    }
  }

  [[nodiscard]] bool auth_is_read() const {
    return !sections_.openvpn.has("auth") || sections_.openvpn.get<std::string>("auth").has_value();
  }

  void check_mlvpn() {
    if (!backend_is("mlvpn") || sections_.mlvpn.has("password_file")) return;
    report_.error(
        sections_.mlvpn.node().position,
        "[mlvpn] has no password_file; write password_file = \"bond.password\" and put the password, "
        "the same on both ends, into the first line of that file");
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

  void check_forward_steals(const Section& section, const model::PortRange& port) {
    if (section.get<std::string>("proto") != "udp") return;
    for (std::size_t i = 0; i < config_.wans.size(); ++i) {
      const std::uint16_t own = config_.wans[i].port;
      if (own == 0 || !overlap(port, {own, own})) continue;
      report_.error(
          section.at("port"),
          fmt::format("UDP port {} is where the tunnel of {} arrives; forward another", own, name_of(i)));
    }
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

  const Sections& sections_;
  const model::Config& config_;
  Purpose purpose_;
  Report& report_;
};

}  // namespace

void check_rules(const Sections& sections, const model::Config& config, Purpose purpose, Report& report) {
  Rules(sections, config, purpose, report).run();
}

}  // namespace bondd::config
