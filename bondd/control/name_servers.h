// Asks the name servers without the system's resolver, by a way of our own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
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

using Fits = std::function<bool(const IpAddress&)>;  // whether the server can be there; called in any thread

// The questions for a name's addresses, IPv4 and IPv6, and what is answered to them, by several servers that
// may contradict each other: a modem-router that filters says 0.0.0.0.
class NameAnswers {
 public:
  // Fails for what is no name.
  static Result<NameAnswers> to(const std::string& name, Fits fits);
  // As they go to a server.
  [[nodiscard]] const std::vector<std::vector<std::uint8_t>>& questions() const { return questions_; }
  // Takes a datagram; whether an IPv4 answer that fits is known now. Anything else than an answer is ignored.
  bool handle(std::span<const std::uint8_t> datagram);
  // The first IPv4 answer that fits, else the first with any address; empty when there was none.
  [[nodiscard]] const std::vector<IpAddress>& best() const { return good_.empty() ? any_ : good_; }

 private:
  NameAnswers() = default;
  std::vector<std::vector<std::uint8_t>> questions_;
  Fits fits_;
  std::vector<IpAddress> good_, any_;
};

// The addresses of `name`, a full one. Every server is asked by every way, every gateway by its own; the
// first IPv4 answer that `fits` counts, and when none does within a second, any. Blocks for `limit` at the
// most.
Result<std::vector<IpAddress>> ask_name_servers(const std::string& name, const std::vector<NameWay>& ways,
                                                const Fits& fits, Duration limit);

}  // namespace bondd::control
