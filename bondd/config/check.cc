// Rules that span several keys, but for traffic.cc's. A rule speaks only when every key that it compares was
// read without a mistake.
#include "bondd/config/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "bondd/base/inet.h"
#include "bondd/config/rule_set.h"
#include "bondd/model/ownership.h"
#include "bondd/plan/lans.h"
#include "bondd/plan/servers.h"

namespace bondd::config {
namespace {

// Beyond this, equal shares for unequal lines are slower than the better line alone
// (measured: 4 and 1.6 Mbit/s give 2.5).
constexpr double kUnlike = 2.0;

// Keys of a WAN that one backend alone understands. The line may stay when the backend
// is changed for a try, so they are no mistake.
constexpr std::array<std::string_view, 4> kMlvpnOnly{"fallback_only", "timeout", "loss_tolerance",
                                                     "latency_tolerance"};

class Rules : private RuleSet {
 public:
  Rules(const Sections& sections, const model::Config& config, Purpose purpose, Report& report)
      : RuleSet(sections, config, report), purpose_(purpose) {}

  void run() {
    check_role();
    check_ipv4();
    check_server();
    check_bond();
    check_wans();
    check_gateways();
    check_shares();
    check_marks();
    check_openvpn();
    check_mlvpn();
    check_web();
  }

 private:
  // Only the role is wrong when all else is the other end's. Each such key has its own message; this one
  // names the cause.
  void check_role() {
    if (!has_other_role()) return;
    report_.error(
        sections_.root.at("role"),
        fmt::format("role = \"{0}\", but what stands below is of a {1}'s file; write role = \"{1}\", or "
                    "take the other end's file",
                    is_client() ? "client" : "server", is_client() ? "server" : "client"));
  }

  [[nodiscard]] bool has_other_role() const {
    const bool has_ways = std::any_of(sections_.wans.begin(), sections_.wans.end(), [](const Section& wan) {
      return wan.has("device") || wan.has("gateway");
    });
    const bool has_services = sections_.nat.has("masquerade") || !sections_.forwards.empty();
    const bool of_client = has_ways || !sections_.policies.empty();
    return (is_client() && has_services && !of_client) || (is_server() && of_client && !has_services);
  }

  // Inside the bond and towards the gateways bondd sets IPv4 routes and rules only. What
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
    if (ip && plan::is_no_host(*ip) && (is_client() || !ip->is_unspecified())) {
      report_.error(sections_.server.at("address"),
                    fmt::format("address = {} is nobody's; write the VPS's address", in_quotes(*address)));
    }
    if (is_client() && ip && !ip->is_v4()) {
      report_.warning(
          sections_.server.at("address"),
          fmt::format(
              "address = {} is IPv6, but bondd leads tunnels through their gateways by IPv4 only: all "
              "of them would leave by this machine's own IPv6 route, as one line; write the VPS's IPv4 "
              "address",
              in_quotes(*address)));
    }
    check_server_is_outside(ip);
    if (is_server() && !ip) {
      report_.error(
          sections_.server.at("address"),
          fmt::format("address = {} is a name; a server listens on an address of its own, or on all "
                      "if the key is left out",
                      in_quotes(*address)));
    }
  }

  // Tunnels cannot go through what they make.
  void check_server_is_outside(const Result<IpAddress>& address) {
    const auto own = sections_.bond.get<IpPrefix>("address");
    if (!address || !own || !own->contains(*address)) return;
    report_.error(
        sections_.server.at("address"),
        fmt::format("address = \"{}\" is inside the bond ({}), which needs the tunnels first; write "
                    "the VPS's Internet address{}",
                    to_string(*address), to_string(own->network()),
                    is_server() ? ", or delete this line to listen on all addresses" : ""));
  }

  void check_bond() {
    const Section& bond = sections_.bond;
    if (model::is_tap_name(config_.bond.interface)) {
      report_.error(bond.at("interface"),
                    fmt::format("interface = {}: names like this one are of the tunnels' own "
                                "interfaces; choose another, for example \"bond0\"",
                                in_quotes(config_.bond.interface)));
    }
    // "all" and "default" are no devices to the kernel, but its settings for all of them; "lo" is there
    // always.
    constexpr std::array<std::string_view, 3> kTaken{"all", "default", "lo"};
    if (std::find(kTaken.begin(), kTaken.end(), config_.bond.interface) != kTaken.end()) {
      report_.error(bond.at("interface"),
                    fmt::format("interface = {}: the kernel has this name for something else; "
                                "choose another, for example \"bond0\"",
                                in_quotes(config_.bond.interface)));
    }
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
                                                  "leads to the gateway",
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
    check_generated_names();
    for (const Section& wan : wans) {
      const auto bind = wan.get<IpAddress>("bind");
      if (bind && bind == wan.get<IpAddress>("gateway")) {
        report_.error(wan.at("bind"),
                      fmt::format("bind = \"{}\" is the gateway's address; write this machine's own",
                                  to_string(*bind)));
      }
      for (const std::string_view key : kMlvpnOnly) {
        if (!backend_is("openvpn-bond") || !wan.has(key)) continue;
        report_.warning(wan.at(key),
                        fmt::format("openvpn-bond does not know {}; only backend = \"mlvpn\" does", key));
      }
    }
  }

  // Long names are cut to fit a device's name, and may come out alike; those of further tunnels are cut more.
  void check_generated_names() {
    if (!backend_is("openvpn-bond") || config_.wans.size() > model::kMaxWans) return;
    const auto alike = [&](std::size_t i, std::size_t j, unsigned k) {
      return model::tap_name(0, config_.wans[i].name, k) == model::tap_name(0, config_.wans[j].name, k);
    };
    for (std::size_t i = 0; i < config_.wans.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (config_.wans[j].name == config_.wans[i].name || !(alike(i, j, 0) || alike(i, j, 1))) continue;
        report_.error(
            sections_.wans[i].at("name"),
            fmt::format("name = {} is cut to the same interface name as {} (line {}); choose one that "
                        "differs in its first letters",
                        in_quotes(config_.wans[i].name), name_of(j), sections_.wans[j].at("name").line));
      }
    }
  }

  // Whether two WANs leave by the same device, as far as the file tells. One gateway is on one device, so
  // with both gateways written a device that is left out is the other's.
  [[nodiscard]] bool same_device(std::size_t i, std::size_t j) const {
    const model::Wan &a = config_.wans[i], &b = config_.wans[j];
    return a.device == b.device || (a.gateway && b.gateway && (a.device.empty() || b.device.empty()));
  }

  void check_gateways() {
    if (!is_client() || has_other_role()) return;
    const auto& wans = sections_.wans;
    for (const Section& wan : wans) {
      const auto gateway = wan.get<IpAddress>("gateway");
      if (gateway && is_no_host(*gateway)) {
        report_.error(wan.at("gateway"),
                      fmt::format("gateway = \"{}\" is not the address of a host; write the "
                                  "gateway's",
                                  to_string(*gateway)));
      }
      if (!gateway || to_string(*gateway) != config_.server.address) continue;
      report_.error(wan.at("gateway"), fmt::format("gateway = \"{}\" is the VPS; write the gateway's address",
                                                   to_string(*gateway)));
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
            fmt::format(
                "gateway = \"{}\" is the gateway of {} too (line {}); two WANs by one gateway are one "
                "line",
                to_string(*gateway), name_of(j), wans[j].at("gateway").line));
        break;
      }
    }
  }

  [[nodiscard]] std::string two_defaults(std::size_t i, std::size_t j) const {
    const std::string& device = config_.wans[i].device;
    const bool like_a_server = std::none_of(
        sections_.wans.begin(), sections_.wans.end(),
        [](const Section& wan) { return wan.has("device") || wan.has("gateway") || wan.has("bind"); });
    return fmt::format(
        "{} has no gateway, nor has {} (line {}): both would leave by the gateway that {} learned; "
        "write each gateway's address, for example gateway = \"192.168.1.254\"{}",
        name_of(i), name_of(j), sections_.wans[j].node().position.line,
        device.empty() ? "the machine" : device,
        like_a_server ? "; if this machine is the VPS, write role = \"server\"" : "");
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

  void check_marks() {
    if (!sections_.marks.get<std::int64_t>("mask") || model::mark_slots(config_.mark_mask) > 0) return;
    report_.error(
        sections_.marks.at("mask"),
        fmt::format("mask = {:#x}: write at least 5 bits in a row, below bit 31, for example mask = {:#x}",
                    config_.mark_mask, model::kDefaultMarkMask));
  }

  void check_openvpn() {
    if (!backend_is("openvpn-bond") || !auth_is_read()) return;
    const Section& section = sections_.openvpn;
    if (config_.openvpn.auth == model::OpenVpnAuth::kStaticKey) {
      if (!section.has("key")) {
        report_.error(section.at("auth"),
                      "[openvpn] has no key; write the shared key's file, key = \"bond.key\"");
      }
      for (const std::string_view key : {"fingerprint", "certificate", "tls_crypt"}) {
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
    if (!backend_is("mlvpn")) return;
    if (sections_.mlvpn.get<std::string>("key_file") && sections_.mlvpn.get<std::string>("peer") == "mlvpn") {
      report_.error(
          sections_.mlvpn.at("key_file"),
          "key_file is for two bondd, and peer = \"mlvpn\" says that the original program is there; "
          "take one of the two out");
    }
    if (sections_.mlvpn.has("password_file")) return;
    report_.error(
        sections_.mlvpn.node().position,
        "[mlvpn] has no password_file; write password_file = \"bond.password\" and put the password, "
        "the same on both ends, into the first line of that file");
  }

  // The page tells much of the site, in clear text.
  void check_web() {
    const auto listen = sections_.web.get<Target>("listen");
    if (!listen || is_loopback(listen->address)) return;
    const std::string shown = in_quotes(sections_.web.node().find("listen")->value.text);
    if (!sections_.web.has("token_file")) {
      report_.error(
          sections_.web.at("listen"),
          fmt::format("listen = {} is open to others, so the page needs a token: write token_file = "
                      "\"web.token\", and make that file with: (umask 077; {}); or "
                      "listen on \"127.0.0.1:{}\"",
                      shown, how_to_make_token(config_.file.parent_path() / "web.token"),
                      listen->port->first));
    }
    const bool outside = listen->address.is_unspecified()
                             ? is_server()
                             : !plan::is_private({listen->address, listen->address.bits()});
    if (!outside) return;
    report_.warning(sections_.web.at("listen"),
                    fmt::format("listen = {} is open to the Internet without encryption, the token too; "
                                "write listen = \"127.0.0.1:{}\" and take an SSH tunnel to it",
                                shown, listen->port->first));
  }

  Purpose purpose_;
};

}  // namespace

void check_rules(const Sections& sections, const model::Config& config, Purpose purpose, Report& report) {
  Rules(sections, config, purpose, report).run();
}

}  // namespace bondd::config
