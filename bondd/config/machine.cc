// Rules that look at the machine, through CheckContext. Devices may come and go (a USB
// modem, PPP), so one that is absent is a warning; an address that contradicts the file
// is a mistake.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "bondd/base/text.h"
#include "bondd/config/check.h"

namespace bondd::config {
namespace {

namespace fs = std::filesystem;
using Device = CheckContext::Device;

constexpr std::uint32_t kOthers = 0077;
constexpr std::size_t kKeyLimit = 65536;

std::string join_addresses(const Device& device) {
  std::string out;
  for (const IpPrefix& prefix : device.addresses) {
    out += (out.empty() ? "" : ", ") + to_string(prefix);
  }
  return out;
}

class Machine {
 public:
  Machine(const Sections& sections, const model::Config& config, const CheckContext& context, Purpose purpose,
          Report& report)
      : sections_(sections), config_(config), context_(context), purpose_(purpose), report_(report) {}

  void run() {
    check_keys();
    devices_ = context_.devices();
    if (!devices_) return;
    check_bond();
    if (sections_.side == Side::kClient) {
      is_elsewhere_ = purpose_ == Purpose::kCheck && !any_box_is_near();
      for (const Section& wan : sections_.wans) check_wan(wan);
      check_routes();
    }
    if (sections_.side == Side::kServer) {
      check_listen_address();
      check_masquerade();
    }
  }

 private:
  // -- files -----------------------------------------------------------------------

  void check_keys() {
    const auto backend = sections_.root.get<std::string>("backend");
    if (backend == "mlvpn") check_password();
    if (backend == "openvpn-bond") check_openvpn_keys();
  }

  void check_password() {
    const Section& mlvpn = sections_.mlvpn;
    if (!mlvpn.get<std::string>("password_file")) return;
    const fs::path& file = config_.mlvpn.password_file;
    const auto text =
        check_secret(file, mlvpn.at("password_file"),
                     fmt::format("write the password into it, the same on both ends, and run chmod 600 {}",
                                 shell_quote(file.string())));
    if (text && text->substr(0, text->find('\n')).find_first_not_of("\r \t") == std::string::npos) {
      report_.error(
          mlvpn.at("password_file"),
          fmt::format("the first line of {} is empty; that is where the password stands", quoted_path(file)));
    }
  }

  void check_openvpn_keys() {
    const Section& openvpn = sections_.openvpn;
    const bool mistaken = openvpn.has("auth") && !openvpn.get<std::string>("auth");
    if (mistaken || (openvpn.has("key") && !openvpn.get<std::string>("key"))) return;
    if (config_.openvpn.auth == model::OpenVpnAuth::kStaticKey) {
      if (openvpn.has("key")) check_static_key();
    } else if (purpose_ != Purpose::kMakeKey) {
      check_tls_files();
    }
  }

  void check_static_key() {
    const fs::path& file = config_.openvpn.static_key;
    const Position at = sections_.openvpn.at("key");
    const std::string make = fmt::format("run openvpn --genkey secret {} and copy the file to the other end",
                                         shell_quote(file.string()));
    const auto text = check_secret(file, at, make);
    if (text && text->find("BEGIN OpenVPN Static key V1") == std::string::npos) {
      report_.warning(at, fmt::format("{} does not look like an OpenVPN static key; to make one, {}",
                                      quoted_path(file), make));
    }
  }

  void check_tls_files() {
    const std::string make = fmt::format("run bondd key {} to make it", shell_quote(config_.file.string()));
    const Position at = sections_.openvpn.at("key");
    const auto text = check_secret(config_.openvpn.private_key, at, make);
    if (text && text->find("BEGIN OpenVPN Static key") != std::string::npos) {
      report_.error(
          at, fmt::format("{} is a shared key, but auth is \"tls\"; write auth = \"static-key\", or take key "
                          "out and run bondd key {}",
                          quoted_path(config_.openvpn.private_key), shell_quote(config_.file.string())));
    }
    const auto certificate = context_.stat(config_.openvpn.certificate);
    if (!certificate && !context_.stat(config_.openvpn.private_key)) return;  // one command makes both
    if (!certificate) {
      say_unreadable(sections_.openvpn.at("certificate"), config_.openvpn.certificate, certificate.error(),
                     make);
    } else if (certificate->size == 0) {
      report_.error(sections_.openvpn.at("certificate"),
                    fmt::format("{} is empty; {}", quoted_path(config_.openvpn.certificate), make));
    }
  }

  // A file that holds a secret: there, a file, nobody else's to read, not empty. Its
  // start, if it may be read; `make` says how to come by one.
  std::optional<std::string> check_secret(const fs::path& file, Position at, const std::string& make) {
    const auto facts = context_.stat(file);
    if (!facts) {
      say_unreadable(at, file, facts.error(), make);
      return std::nullopt;
    }
    if (!facts->regular) {
      report_.error(at, fmt::format("{} is not a file; {}", quoted_path(file), make));
      return std::nullopt;
    }
    if ((facts->permissions & kOthers) != 0) {
      report_.error(at, fmt::format("{} can be read or changed by others (mode {:04o}); run chmod 600 {}",
                                    quoted_path(file), facts->permissions, shell_quote(file.string())));
    }
    if (facts->size == 0) {
      report_.error(at, fmt::format("{} is empty; {}", quoted_path(file), make));
      return std::nullopt;
    }
    const auto text = context_.read(file, kKeyLimit);
    if (text) return *text;
    if (text.error().code != EACCES) say_unreadable(at, file, text.error(), make);
    return std::nullopt;
  }

  void say_unreadable(Position at, const fs::path& file, const Error& error, const std::string& make) {
    if (error.code == ENOENT || error.code == ENOTDIR) {
      report_.error(at, fmt::format("{} is missing; {}", quoted_path(file), make));
    } else if (error.code != EACCES) {
      report_.error(at, fmt::format("{} cannot be read: {}", quoted_path(file), error.message));
    } else {
      report_.warning(at, fmt::format("{} may not be looked at; run the check as root", quoted_path(file)));
    }
  }

  static std::string quoted_path(const fs::path& file) { return in_quotes(file.string()); }

  // -- devices ---------------------------------------------------------------------

  [[nodiscard]] const Device* find(std::string_view name) const {
    const auto found =
        std::find_if(devices_->begin(), devices_->end(), [&](const Device& d) { return d.name == name; });
    return found == devices_->end() ? nullptr : &*found;
  }

  void say_absent(Position at, const std::string& name) {
    std::vector<std::string_view> names;
    for (const Device& device : *devices_) {
      if (device.name != "lo") names.emplace_back(device.name);
    }
    const std::string_view meant = likely_meant(name, names);
    report_.warning(at, fmt::format("this machine has no device {} now; {}", in_quotes(name),
                                    meant.empty() ? fmt::format("it has {}", fmt::join(names, ", "))
                                                  : fmt::format("did you mean \"{}\"?", meant)));
  }

  // The device with an address of that network, other than the bond's own.
  [[nodiscard]] const Device* holder_of(const IpAddress& address) const {
    const auto found = std::find_if(devices_->begin(), devices_->end(), [&](const Device& d) {
      return d.name != config_.bond.interface && reaches(d, address);
    });
    return found == devices_->end() ? nullptr : &*found;
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

  static bool has_family(const Device& device, const IpAddress& like) {
    return std::any_of(device.addresses.begin(), device.addresses.end(),
                       [&](const IpPrefix& p) { return p.address.family() == like.family(); });
  }

  [[nodiscard]] const Device* owner_of(const IpAddress& address) const {
    const auto found = std::find_if(devices_->begin(), devices_->end(),
                                    [&](const Device& d) { return has_address(d, address); });
    return found == devices_->end() ? nullptr : &*found;
  }

  void check_bond() {
    const auto own = sections_.bond.get<IpPrefix>("address");
    if (!own) return;
    for (const Device& device : *devices_) {
      if (device.name == config_.bond.interface || device.name == "lo") continue;
      for (const IpPrefix& other : device.addresses) {
        if (!other.contains(own->address) && !own->contains(other.address)) continue;
        report_.warning(
            sections_.bond.at("address"),
            fmt::format("{} overlaps with {} on {}; take a network for the bond that is used nowhere else",
                        to_string(*own), to_string(other), device.name));
      }
    }
  }

  // Whether the file may be this machine's: a box of it is in one of its networks.
  [[nodiscard]] bool any_box_is_near() const {
    return std::any_of(sections_.wans.begin(), sections_.wans.end(), [&](const Section& wan) {
      const auto gateway = wan.get<IpAddress>("gateway");
      const auto name = wan.get<std::string>("device");
      const Device* const device = name ? find(*name) : nullptr;
      return gateway &&
             (name ? device != nullptr && reaches(*device, *gateway) : holder_of(*gateway) != nullptr);
    });
  }

  // What contradicts this machine's addresses.
  void say_contradiction(Position at, const std::string& message) {
    if (!is_elsewhere_) return report_.error(at, message);
    report_.warning(at, message + "; right only if the file is for another machine");
  }

  void check_wan(const Section& wan) {
    const auto name = wan.get<std::string>("device");
    if (wan.has("device") && !name) return;
    const Device* const device = name ? find(*name) : nullptr;
    if (name && device == nullptr) return say_absent(wan.at("device"), *name);
    if (const auto gateway = wan.get<IpAddress>("gateway")) check_gateway(wan, device, *gateway);
    const auto bind = wan.get<IpAddress>("bind");
    if (device != nullptr && bind && has_family(*device, *bind) && !has_address(*device, *bind)) {
      say_contradiction(wan.at("bind"), fmt::format("bind = \"{}\" is no address of {}, which has {}",
                                                    to_string(*bind), device->name, join_addresses(*device)));
    }
  }

  // `device` is null if the file names none: then any network will do.
  void check_gateway(const Section& wan, const Device* device, const IpAddress& gateway) {
    const Position at = wan.at("gateway");
    if (const Device* const own = owner_of(gateway)) {
      report_.error(at, fmt::format("gateway = \"{}\" is this machine's own address (on {}); write the box's",
                                    to_string(gateway), own->name));
    } else if (device == nullptr) {
      if (holder_of(gateway) != nullptr) return;
      say_contradiction(at,
                        fmt::format("gateway = \"{}\" is in no network of this machine", to_string(gateway)));
    } else if (!has_family(*device, gateway)) {
      report_.warning(at, fmt::format("{} has no address in the family of {} now; the WAN waits for one",
                                      device->name, to_string(gateway)));
    } else if (!reaches(*device, gateway)) {
      const Device* const other = holder_of(gateway);
      const std::string hint = other == nullptr ? "" : fmt::format("; it is in {}'s", other->name);
      say_contradiction(at, fmt::format("gateway = \"{}\" is outside the network of {}, which has {}{}",
                                        to_string(gateway), device->name, join_addresses(*device), hint));
    }
  }

  // The office's own LAN sent into the bond: the server's line in the client's file.
  void check_routes() {
    const auto networks = sections_.routes.get<std::vector<IpPrefix>>("through_bond");
    if (!networks) return;
    const Node& array = sections_.routes.node().find("through_bond")->value;
    for (std::size_t i = 0; i < networks->size(); ++i) {
      const IpPrefix& network = (*networks)[i];
      for (const Device& device : *devices_) {
        const bool is_local = device.name != config_.bond.interface &&
                              std::any_of(device.addresses.begin(), device.addresses.end(),
                                          [&](const IpPrefix& p) { return p.network() == network; });
        if (!is_local) continue;
        report_.error(
            array.items[i].position,
            fmt::format("\"{}\" is {}'s own network, on this side of the bond; the line belongs into the "
                        "server's file",
                        to_string(network), device.name));
      }
    }
  }

  void check_listen_address() {
    const auto text = sections_.server.get<std::string>("address");
    const auto address = text ? parse_ip(*text) : Result<IpAddress>(failure(""));
    if (!address || address->is_unspecified() || owner_of(*address) != nullptr) return;
    report_.warning(
        sections_.server.at("address"),
        fmt::format("{} is no address of this machine now; behind address translation leave the key out, "
                    "to listen on all addresses",
                    to_string(*address)));
  }

  void check_masquerade() {
    const auto names = sections_.nat.get<std::vector<std::string>>("masquerade");
    if (!names) return;
    const Node& array = sections_.nat.node().find("masquerade")->value;
    for (std::size_t i = 0; i < names->size(); ++i) {
      if (find((*names)[i]) == nullptr) say_absent(array.items[i].position, (*names)[i]);
    }
  }

  const Sections& sections_;
  const model::Config& config_;
  const CheckContext& context_;
  Purpose purpose_;
  Report& report_;
  std::optional<std::vector<Device>> devices_;
  bool is_elsewhere_ = false;
};

}  // namespace

void check_machine(const Sections& sections, const model::Config& config, const CheckContext& context,
                   Purpose purpose, Report& report) {
  Machine(sections, config, context, purpose, report).run();
}

}  // namespace bondd::config
