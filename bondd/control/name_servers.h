// Asks the name servers without the system's resolver, by a way of our own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/base/units.h"

namespace bondd::control {

// One WAN as a way to name servers.
struct NameWay {
  std::uint32_t mark = 0;            // SO_MARK: leaves by that WAN's gateway, whatever else
  std::optional<IpAddress> gateway;  // modem-routers mostly answer questions themselves
};

// The IPv4 name servers in a resolv.conf(5), without those on this machine.
std::vector<IpAddress> name_servers_in(std::string_view resolv_conf);

// The servers that this machine's questions end at. /etc/resolv.conf often names a stub on this machine
// (systemd-resolved, dnsmasq, NetworkManager) that asks others by a way of its own, and so into a bond that
// carries nothing: then those others count, from the files in which the stubs keep them. `read` gives a
// file's text, or nothing.
using ReadFile = std::function<std::optional<std::string>(const char* path)>;
std::vector<IpAddress> upstream_name_servers(const ReadFile& read);

// The IPv4 addresses of `name`, a full one. Every server is asked by every way, every gateway by its own; the
// first answer counts. Blocks for `limit` at the most.
Result<std::vector<IpAddress>> ask_name_servers(const std::string& name, const std::vector<NameWay>& ways,
                                                Duration limit);

}  // namespace bondd::control
