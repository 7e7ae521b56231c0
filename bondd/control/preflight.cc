#include "bondd/control/preflight.h"

#include <arpa/inet.h>
#include <cap-ng.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "bondd/base/inet.h"
#include "bondd/control/run_dir.h"
#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/foreign.h"
#include "bondd/plan/routing.h"
#include "bondd/plan/tunnels.h"
#include "bondd/problems/find.h"
#include "bondd/supervise/run_program.h"

namespace bondd::control {
namespace {

using Errors = std::vector<Error>;
constexpr int kTlsFrom = 6;  // OpenVPN 2.6 knows --peer-fingerprint in p2p mode

void say(Errors& errors, std::string message, int code = 0) {
  errors.push_back(Error{std::move(message), code});
}

bool exists(const char* path) {
  struct stat ignored {};
  return stat(path, &ignored) == 0;
}

// Loads a module the way the kernel does: through the program it would call.
void load_module(const std::string& module, const std::vector<std::string>& parameters) {
  std::string helper = read_small_file("/proc/sys/kernel/modprobe").value_or("");
  while (!helper.empty() && helper.back() == '\n') helper.pop_back();
  if (helper.empty()) helper = supervise::find_program("modprobe").value_or("");
  if (helper.empty()) return;
  std::vector<std::string> argv = {helper, "-q", "--", module};
  argv.insert(argv.end(), parameters.begin(), parameters.end());
  // Whether it worked is seen by what is there afterwards.
  [[maybe_unused]] const auto ran = supervise::run_program(argv);
}

void check_bonding(Errors& errors) {
  constexpr const char* kThere = "/sys/module/bonding";
  if (exists(kThere)) return;
  load_module("bonding", {"max_bonds=0"});  // or it makes a bond0 of its own
  if (exists(kThere)) return;
  say(errors,
      "this kernel has no bonding module; use a kernel that has one (linux-image-amd64, not the -cloud- "
      "one), or "
      "backend = \"mlvpn\", which needs none");
}

void check_tun(Errors& errors) {
  constexpr const char* kDevice = "/dev/net/tun";
  if (!exists(kDevice)) load_module("tun", {});
  const UniqueFd fd(open(kDevice, O_RDWR | O_CLOEXEC));
  if (fd) return;
  say(errors,
      fmt::format("cannot open {}: {}; try `modprobe tun`; in a container, let it have the device", kDevice,
                  std::generic_category().message(errno)),
      errno);
}

void check_openvpn(const model::Config& config, const Programs& programs, Errors& errors) {
  if (programs.openvpn.empty()) {
    say(errors, "openvpn is not installed; install it (apt install openvpn), or use backend = \"mlvpn\"",
        ENOENT);
    return;
  }
  if (programs.openvpn_version.empty()) {
    say(errors, fmt::format("`{} --version` does not say a version of OpenVPN", programs.openvpn.native()));
    return;
  }
  if (programs.openvpn_minor < 5) {
    say(errors, fmt::format("OpenVPN {} is too old; 2.5 or later is needed", programs.openvpn_version));
  } else if (config.openvpn.auth == model::OpenVpnAuth::kTls && programs.openvpn_minor < kTlsFrom) {
    say(errors,
        fmt::format("OpenVPN {} cannot pin certificates; 2.6 or later is needed, or auth = \"static-key\" on "
                    "both ends",
                    programs.openvpn_version));
  }
  if (!programs.uid) {
    say(errors, "there is no user to run openvpn as; make one (adduser --system _bondd)");
  }
}

std::set<std::uint16_t> ports_of(const model::Config* running) {
  std::set<std::uint16_t> ports;
  if (running == nullptr || running->role != model::Role::kServer) return ports;
  for (const plan::Tunnel& tunnel : plan::tunnels(*running)) ports.insert(tunnel.port);
  return ports;
}

void check_ports(const model::Config& config, const model::Config* running, Errors& errors) {
  constexpr std::uint16_t kAnyPort = 0;  // shows whether the address is this machine's
  if (config.role != model::Role::kServer) return;
  if (!config.server.address.empty() && !parse_ip(config.server.address)) return;
  const std::set<std::uint16_t> own = ports_of(running);
  for (const plan::Tunnel& tunnel : plan::tunnels(config)) {
    const int code = try_udp_port(config.server.address, own.contains(tunnel.port) ? kAnyPort : tunnel.port);
    if (code == 0) continue;
    const std::string& wan = config.wans[tunnel.wan - 1].name;
    if (code == EADDRINUSE) {
      say(errors,
          fmt::format("{}: UDP port {} is in use by another program; `ss -ulnp sport = :{}` shows which", wan,
                      tunnel.port, tunnel.port),
          code);
    } else if (code == EADDRNOTAVAIL) {
      return;  // it may come by itself (a floating address, DHCP), and is listened on from then on
    } else {
      say(errors,
          fmt::format("{}: cannot use UDP port {}: {}", wan, tunnel.port,
                      std::generic_category().message(code)),
          code);
    }
  }
}

void check_names(const model::Config& config, const plan::Plan& plan, const netlink::Snapshot& network,
                 Errors& errors) {
  const std::string alias = model::link_alias(config.site);
  for (const netlink::Link& wanted : plan.state.links) {
    const netlink::Link* const found = plan::find_link(network, wanted.name);
    if (found == nullptr || found->alias == alias || netlink::is_half_made(*found, alias)) continue;
    say(errors, plan::link_taken(config, *found), EEXIST);
  }
}

// What a WAN's device has comes from its gateway and may change; the two do not meet, for each has a table of
// its own.
void check_addresses(const model::Config& config, const plan::Plan& plan, const netlink::Snapshot& network,
                     Errors& errors) {
  const std::string alias = model::link_alias(config.site);
  const auto is_ours = [&](const std::string& device) {
    const netlink::Link* const link = plan::find_link(network, device);
    return link != nullptr && link->alias == alias;
  };
  for (const netlink::Address& wanted : plan.state.addresses) {
    for (const netlink::Address& there : network.addresses) {
      if (there.device == wanted.device || there.prefix.address != wanted.prefix.address ||
          is_ours(there.device) || plan::is_from_a_gateway(config, network, there.device))
        continue;
      say(errors,
          fmt::format("the address {} of the bond is on {} already; give the bond one of its own",
                      to_string(wanted.prefix.address), there.device),
          EEXIST);
    }
  }
}

void check_settings(const model::Config& config, const std::vector<model::FixedSysctl>& fixed,
                    Errors& errors) {
  for (const model::FixedSysctl& one : fixed) {
    if (one.wanted.need == model::Need::kMust)
      say(errors, problems::to_line(problems::about_fixed(config, one)), EROFS);
  }
}

void check_firewall(const plan::Plan& plan, rules::Iptables& iptables, Errors& errors) {
  if (plan.state.firewall.empty()) return;
  if (auto variant = iptables.variant(); !variant) errors.push_back(variant.error());
  for (const std::string& obstacle : iptables.obstacles(plan.state.firewall)) say(errors, obstacle);
  for (const std::string& missing : rules::missing_extensions(plan.state.firewall)) say(errors, missing);
}

}  // namespace

void ask_gateways(const model::Config& config) {
  constexpr std::uint16_t kDiscard = 9;  // RFC 863
  for (const model::Wan& wan : config.wans) {
    if (!wan.gateway || !wan.gateway->is_v4()) continue;
    const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return;
    if (!wan.device.empty())
      setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, wan.device.data(),
                 static_cast<socklen_t>(wan.device.size()));
    const sockaddr_in to = to_sockaddr(*wan.gateway, kDiscard);
    [[maybe_unused]] const ssize_t sent =
        sendto(fd.get(), nullptr, 0, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }
}

int try_udp_port(const std::string& address, std::uint16_t port) {
  const auto ip = parse_ip(address).value_or(IpAddress{});
  const UniqueFd fd(socket(ip.af(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return 0;  // a family this machine does not have is another finding
  sockaddr_in6 six{};
  sockaddr_in four{};
  const sockaddr* where = nullptr;
  socklen_t size = 0;
  if (ip.is_v4()) {
    four = to_sockaddr(ip, port);
    where = reinterpret_cast<const sockaddr*>(&four);
    size = sizeof four;
  } else {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    std::memcpy(&six.sin6_addr, ip.data(), ip.size());
    where = reinterpret_cast<const sockaddr*>(&six);
    size = sizeof six;
  }
  return bind(fd.get(), where, size) == 0 ? 0 : errno;
}

bool has_network_rights() {
  capng_get_caps_process();
  return capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN) == 1 &&
         capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_RAW) == 1;
}

Errors check_system(const model::Config& config, const Programs& programs) {
  Errors errors;
  if (!has_network_rights()) {
    // Without them nothing below can be found out.
    say(errors, "bondd needs to be root (or to have CAP_NET_ADMIN and CAP_NET_RAW); try sudo", EPERM);
    return errors;
  }
  check_tun(errors);
  if (config.backend == model::Backend::kOpenVpnBond) {
    check_bonding(errors);
    check_openvpn(config, programs, errors);
  }
  return errors;
}

Errors check_conflicts(const model::Config& config, const Prepared& prepared, rules::Iptables& iptables,
                       const model::Config* running) {
  const plan::Plan& plan = prepared.plan;
  const netlink::Snapshot& network = prepared.facts.network;
  Errors errors;
  check_settings(config, prepared.owned.fixed_sysctls, errors);
  check_names(config, plan, network, errors);
  check_addresses(config, plan, network, errors);
  check_ports(config, running, errors);
  check_firewall(plan, iptables, errors);
  return errors;
}

}  // namespace bondd::control
