#include "bondd/setup/import_mlvpn.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>

#include "bondd/setup/mlvpn_conf.h"

namespace bondd::setup {
namespace {

// Shorter ones can be guessed; MLVPN's example file has one that everybody knows.
constexpr std::size_t kShortPassword = 12;
constexpr std::string_view kExamplePassword = "you have not changed me yet";
constexpr unsigned kLossOff = 100, kLatencyOff = 1000;  // in mlvpn.conf: never
constexpr unsigned kBitsPerByte = 8;

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What need not, or cannot, be said in a file of bondd's.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kLeftOut = {{
    {"ip6", "not supported: the bond carries IPv4 only"},
    {"ip6_gateway", "not supported: the bond carries IPv4 only"},
    {"ip6_routes", "not supported: the bond carries IPv4 only"},
    {"mtu",
     "left out: bondd computes what fits the lines; the original program at the other end needs the same "
     "value there as mtu in [bond]"},
    {"control_unix_path", "not needed: `bondd status` and `bondd reload`"},
    {"control_bind_host",
     "left out, and dangerous: it let anybody there control MLVPN; here: `bondd status`"},
    {"control_bind_port",
     "left out, and dangerous: it let anybody there control MLVPN; here: `bondd status`"},
    {"ControlPort", "not needed: `bondd status`"},
    {"bindfib", "not supported: write device and gateway of this [[wan]]"},
    {"quota", "not supported: bondd counts (`bondd status --json`), and does not stop"},
    {"reorder_buffer", "left out: bondd measures it"},
    {"protocol", "not supported: UDP only"},
}};

// One run over the file: writes TOML, and remarks on what it cannot write.
class Import {
 public:
  Import(const ConfFile& conf, std::string site, const ExitOf& exit_of, const UpdownScript* script)
      : conf_(conf), site_(std::move(site)), exit_of_(exit_of), script_(script) {}

  Imported run() {
    for (const std::size_t line : conf_.odd) remark(line, "not understood");
    for (const ConfSection& section : conf_.sections) {
      if (section.name == "general") {
        for (const ConfEntry& entry : section.entries) general(entry);
      } else if (section.name == "filters") {
        filters(section);
      } else {
        links_.push_back(&section);
      }
    }
    if (role_.empty()) missing("mode is not written: role = \"client\" is taken (the office)");
    if (links_.empty()) missing("there is no link: write a [[wan]] for each line");
    if (script_ != nullptr) take_script();
    for (const ConfSection* link : links_) wan(*link);
    finish();
    std::ranges::stable_sort(out_.remarks, {}, &ImportRemark::line);
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool server() const { return role_ == "server"; }
  void remark(std::size_t line, std::string text) { out_.remarks.push_back({line, std::move(text)}); }
  void missing(std::string text) {
    out_.complete = false;
    remark(0, std::move(text));
  }
  void not_a_value(const ConfEntry& entry) {
    remark(entry.line, fmt::format("left out: {} = {} is not understood", entry.key, quoted(entry.value)));
  }
  // As a string of TOML.
  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      if (static_cast<unsigned char>(c) >= ' ') out += c;
    }
    return out + "\"";
  }

  // True when nothing else needs to be done with it.
  bool left_out(const ConfEntry& entry) {
    const auto* const found =
        std::ranges::find(kLeftOut, std::string_view(entry.key), [](const auto& row) { return row.first; });
    if (found == kLeftOut.end()) return false;
    remark(entry.line, fmt::format("{}: {}", entry.key, found->second));
    return true;
  }

  // --- [general] ---

  void general(const ConfEntry& entry) {
    if (entry.value.empty() || left_out(entry)) return;
    if (entry.key == "mode") {
      role_ = entry.value == "server" ? "server" : "client";
    } else if (entry.key == "interface_name") {
      bond_ += fmt::format("interface = {}\n", quoted(entry.value));
    } else if (entry.key == "tuntap") {
      if (entry.value == "tap") mlvpn_ += "tuntap        = \"tap\"\n";
    } else if (entry.key == "password") {
      password(entry);
    } else if (entry.key == "cleartext_data") {
      if (entry.value == "0") return;
      mlvpn_ += "cleartext_data = true\n";
      remark(entry.line, "cleartext_data: dangerous: whoever is on the way reads and changes all traffic");
    } else if (entry.key == "reorder_buffer_size") {
      if (entry.value == "0") mlvpn_ += "reorder       = 0\n";
      if (entry.value != "0") remark(entry.line, "reorder_buffer_size: left out: bondd measures it");
    } else if (entry.key == "statuscommand") {
      if (script_ == nullptr)
        remark(entry.line, "statuscommand: not read; name the script as well: bondd import FILE SCRIPT");
    } else if (entry.key == "nat") {
      nat(entry);
    } else if (entry.key == "status") {
      if (entry.value == "disabled")
        remark(entry.line, "status: it was disabled; bondd runs it when you start it");
    } else if (entry.key == "ip4") {
      address(entry);
    } else if (entry.key == "ip4_gateway") {
      peer_ = entry.value;
    } else if (entry.key == "ip4_routes") {
      routes(entry);
    } else if (!tolerance(entry, mlvpn_)) {
      remark(entry.line, fmt::format("{}: not known to bondd, left out", entry.key));
    }
  }

  void password(const ConfEntry& entry) {
    out_.files.push_back({site_ + ".password", entry.value + "\n"});
    if (entry.value.starts_with(kExamplePassword)) {
      remark(entry.line,
             "password: dangerous: it is the one of MLVPN's example; write another one on both ends");
    } else if (entry.value.size() < kShortPassword) {
      remark(entry.line,
             fmt::format("password: dangerous: it has only {} characters and can be guessed; write "
                         "another one on both ends",
                         entry.value.size()));
    }
  }

  void address(const ConfEntry& entry) {
    const auto prefix = parse_prefix(entry.value);
    if (!prefix) return not_a_value(entry);
    address_ = *prefix;
  }

  // Of NethServer's records only. A server's way out of the machine stands nowhere.
  void nat(const ConfEntry& entry) {
    if (entry.value != "enabled") return;
    if (!server()) {
      routes_.insert(routes_.begin(), "0.0.0.0/0");
    } else {
      remark(entry.line,
             "Nat: write [nat] masquerade = [\"eth0\"], the device by which the VPS reaches the Internet");
    }
  }

  // What only the script said.
  void take_script() {
    if (!address_) address_ = script_->address;
    if (peer_.empty() && script_->peer) peer_ = to_string(*script_->peer);
    for (const IpPrefix& network : script_->networks) {
      const std::string text = to_string(network);
      if (std::ranges::find(routes_, text) == routes_.end()) routes_.push_back(text);
    }
  }

  void routes(const ConfEntry& entry) {
    routes_written_ = true;
    std::string_view rest = entry.value;
    while (!rest.empty()) {
      const auto end = std::min(rest.find(' '), rest.size());
      const std::string word(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (word.empty()) continue;
      const auto network = parse_prefix(word.find('/') == std::string::npos ? word + "/32" : word);
      if (network) routes_.push_back(to_string(network->network()));
      if (!network)
        remark(entry.line, fmt::format("ip4_routes: {} is not a network, left out", quoted(word)));
    }
  }

  // timeout and the tolerances, general or of a link.
  bool tolerance(const ConfEntry& entry, std::string& out) {
    const auto value = number(entry.value);
    if (entry.key == "timeout") {
      if (!value || *value < 2) return not_a_value(entry), true;
      out += fmt::format("timeout = \"{}s\"\n", *value);
    } else if (entry.key == "loss_tolerence" || entry.key == "loss_tolerance") {
      if (!value || *value > kLossOff) return not_a_value(entry), true;
      if (*value != kLossOff && *value != 0) out += fmt::format("loss_tolerance = {}\n", *value);
    } else if (entry.key == "latency_tolerence" || entry.key == "latency_tolerance") {
      if (!value) return not_a_value(entry), true;
      if (*value != kLatencyOff && *value != 0) out += fmt::format("latency_tolerance = \"{}ms\"\n", *value);
    } else {
      return false;
    }
    return true;
  }

  void filters(const ConfSection& section) {
    for (const ConfEntry& entry : section.entries) {
      remark(entry.line,
             fmt::format(
                 "filter {} on {}: not supported: bondd has no filters inside the bond; a [[policy]] with "
                 "wan = {} sends such traffic out by that line, outside the bond",
                 quoted(entry.value), entry.key, quoted(entry.key)));
    }
  }

  // --- a link's section ---

  void wan(const ConfSection& link) {
    std::map<std::string, const ConfEntry*> known;
    std::string more;
    for (const ConfEntry& entry : link.entries) {
      static const std::set<std::string> kUsed = {
          "bindhost",         "bindport",      "remotehost", "remoteport",
          "bandwidth_upload", "fallback_only", "bandwidth",  "device"};
      if (entry.value.empty() || left_out(entry)) continue;
      if (kUsed.contains(entry.key)) {
        known[entry.key] = &entry;
      } else if (!tolerance(entry, more)) {
        remark(entry.line, fmt::format("{} of [{}]: not known to bondd, left out", entry.key, link.name));
      }
    }
    const auto value = [&](const char* key) {
      const auto found = known.find(key);
      return found == known.end() ? std::string() : found->second->value;
    };
    wans_ += fmt::format("\n[[wan]]\nname = {}\n", quoted(link.name));
    const std::string port = value(server() ? "bindport" : "remoteport");
    if (number(port)) wans_ += fmt::format("port = {}\n", port);
    if (!number(port)) {
      out_.complete = false;
      remark(link.line, fmt::format("[{}] has no {}: write port of this [[wan]]", link.name,
                                    server() ? "bindport" : "remoteport"));
    }
    if (server()) {
      if (const std::string host = value("bindhost"); is_bound(host))
        wans_ += fmt::format("bind = {}\n", quoted(host));
    } else {
      leave_by(link, value("bindhost"), value("device"));
      remote(link, known);
    }
    if (const auto rate = number(value("bandwidth_upload")).value_or(number(value("bandwidth")).value_or(0));
        rate != 0)
      wans_ += fmt::format("upload = \"{}kbit\"\n",
                           std::max<std::uint64_t>(1, std::uint64_t{rate} * kBitsPerByte / 1000));
    if (const std::string fallback = value("fallback_only"); fallback == "1" || fallback == "true")
      wans_ += "fallback_only = true\n";
    wans_ += more;
  }

  static bool is_bound(const std::string& host) { return !host.empty() && host != "0.0.0.0" && host != "::"; }

  // MLVPN left the way to the admin's own rules; bondd makes them, and wants to know device and gateway.
  void leave_by(const ConfSection& link, const std::string& host, const std::string& device) {
    const auto address = parse_ip(host);
    auto exit = address && is_bound(host) ? exit_of_(*address) : std::nullopt;
    if (!device.empty()) exit = ImportExit{device, std::nullopt};
    if (!exit) {
      out_.complete = false;
      wans_ += "# device = \"eth0\"\n# gateway = \"192.168.1.254\"\n";
      remark(link.line,
             is_bound(host)
                 ? fmt::format("[{}]: no device of this machine has the address {}: write device, "
                               "and gateway where it is not learned (DHCP, PPP)",
                               link.name, host)
                 : fmt::format("[{}]: write by which device, and gateway, this line leaves", link.name));
      return;
    }
    wans_ += fmt::format("device = {}\n", quoted(exit->device));
    if (exit->gateway) {
      wans_ += fmt::format("gateway = \"{}\"\n", to_string(*exit->gateway));
    } else if (!devices_.insert(exit->device).second) {
      out_.complete = false;
      remark(link.line,
             fmt::format("[{}]: another line leaves by {} as well: write gateway", link.name, exit->device));
    }
    devices_.insert(exit->device);
  }

  void remote(const ConfSection& link, const std::map<std::string, const ConfEntry*>& known) {
    const auto found = known.find("remotehost");
    if (found == known.end()) {
      out_.complete = out_.complete && !server_.empty();
      if (server_.empty()) remark(link.line, fmt::format("[{}] has no remotehost", link.name));
      return;
    }
    const ConfEntry& entry = *found->second;
    if (server_.empty()) server_ = entry.value;
    if (entry.value != server_)
      remark(entry.line, fmt::format("remotehost {}: not supported: all lines go to one address, {} is taken",
                                     quoted(entry.value), quoted(server_)));
  }

  // --- the whole ---

  void finish() {
    if (!address_) missing("ip4 is not written: write address and peer of [bond], as the script has them");
    if (address_ && peer_.empty()) peer_ = other_host();
    if (address_) widen();
    if (address_ && peer_.empty()) missing("ip4_gateway is not written: write peer of [bond]");
    if (routes_.empty() && !server() && !routes_written_) {
      routes_ = {"0.0.0.0/0"};
      remark(0,
             "ip4_routes is not written: everything goes into the bond; narrow through_bond where that is "
             "not meant");
    }
    if (routes_.empty()) missing("ip4_routes is not written: write the office's networks into through_bond");
    if (server() && script_ == nullptr && !conf_.is_record)
      remark(0,
             "address translation stood in a script, if at all: for the Internet write [nat] masquerade = "
             "[\"eth0\"]");
    const bool has_password = !out_.files.empty();
    if (!has_password) missing("password is not written: put it into the file that password_file names");

    std::string text = fmt::format(
        "# Made by `bondd import`. After a change: `bondd check {0}`, then `bondd reload {0}`. See "
        "bondd.toml(5).\n"
        "role    = \"{1}\"\nbackend = \"mlvpn\"\n",
        site_, server() ? "server" : "client");
    if (!server()) text += fmt::format("\n[server]\naddress = {}\n", quoted(server_));
    text += "\n[bond]\n" + bond_;
    if (address_) text += fmt::format("address   = \"{}\"\n", to_string(*address_));
    if (!peer_.empty()) text += fmt::format("peer      = {}\n", quoted(peer_));
    text += wans_ + "\n[routes]\nthrough_bond = [";
    for (std::size_t i = 0; i < routes_.size(); ++i) text += (i == 0 ? "" : ", ") + quoted(routes_[i]);
    text += fmt::format("]\n\n[mlvpn]\npassword_file = {}\n{}", quoted(site_ + ".password"), mlvpn_);
    if (server() && script_ != nullptr && !script_->masquerade.empty()) {
      text += "\n[nat]\nmasquerade = [";
      for (const std::string& device : script_->masquerade)
        text += (device == script_->masquerade.front() ? "" : ", ") + quoted(device);
      text += "]\n";
    }
    out_.files.push_back({site_ + ".toml", std::move(text)});
  }

  // In a /30 there is only one other end.
  [[nodiscard]] std::string other_host() const {
    constexpr int kPairLength = 30;
    if (!address_->address.is_v4() || address_->length != kPairLength) return {};
    const std::uint32_t own = address_->address.v4_number();
    return to_string(IpAddress::v4((own & ~3U) + (3 - (own & 3U))));
  }

  // An address alone becomes one of the smallest network that has both ends as hosts.
  void widen() {
    const auto peer = parse_ip(peer_);
    constexpr int kAlone = 32, kPairLength = 30, kShortest = 8;
    if (address_->length != kAlone || !peer || !peer->is_v4()) return;
    for (int length = kPairLength; length >= kShortest; --length) {
      const std::uint32_t hosts = 0xffffffffU >> static_cast<unsigned>(length);
      const auto is_host = [&](const IpAddress& address) {
        const std::uint32_t host = address.v4_number() & hosts;
        return host != 0 && host != hosts;
      };
      const IpPrefix network{address_->address, length};
      if (!network.contains(*peer) || !is_host(address_->address) || !is_host(*peer)) continue;
      address_ = network;
      return;
    }
  }

  const ConfFile& conf_;
  std::string site_;
  const ExitOf& exit_of_;
  const UpdownScript* script_;
  Imported out_;
  std::vector<const ConfSection*> links_;
  std::string role_, server_, bond_, wans_, mlvpn_, peer_;
  std::optional<IpPrefix> address_;
  std::vector<std::string> routes_;
  bool routes_written_ = false;
  std::set<std::string> devices_;  // of the links so far
};

}  // namespace

bool is_server(const ConfFile& conf) {
  for (const ConfSection& section : conf.sections) {
    for (const ConfEntry& entry : section.entries) {
      if (section.name == "general" && entry.key == "mode") return entry.value == "server";
    }
  }
  return false;
}

Imported import_mlvpn(const ConfFile& conf, const std::string& site, const ExitOf& exit_of,
                      const UpdownScript* script) {
  return Import(conf, site, exit_of, script).run();
}

}  // namespace bondd::setup
