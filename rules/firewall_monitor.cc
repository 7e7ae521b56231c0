#include "rules/firewall_monitor.h"

#include <libmnl/libmnl.h>
#include <netinet/in.h>
#include <sys/socket.h>
// After netinet/in.h, whose types the kernel's headers would define, too.
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

#include "bondd/base/file.h"

namespace bondd::rules {
namespace {

constexpr std::size_t kBuffer = 16384;

// Of a table, chain or rule; the others (sets, their elements, counters) decide nothing about bondd's rules.
bool is_of_rules(std::uint16_t type) {
  if (NFNL_SUBSYS_ID(type) != NFNL_SUBSYS_NFTABLES) return false;
  switch (NFNL_MSG_TYPE(type)) {
    case NFT_MSG_NEWTABLE:
    case NFT_MSG_DELTABLE:
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
    case NFT_MSG_NEWRULE:
    case NFT_MSG_DELRULE:
      return true;
    default:  // of an integer
      return false;
  }
}

UniqueFd join_nf_tables() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  const int group = NFNLGRP_NFTABLES;
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
    return {};
  return fd;
}

// The tables' names, one a line: only those are asked for, since asking makes a table.
std::map<std::string, std::string> legacy_sizes(int raw) {
  std::map<std::string, std::string> sizes;
  std::istringstream names(read_file("/proc/net/ip_tables_names").value_or(""));
  for (std::string name; std::getline(names, name);) {
    ipt_getinfo info{};
    std::strncpy(info.name, name.c_str(), sizeof info.name - 1);
    socklen_t size = sizeof info;
    if (::getsockopt(raw, IPPROTO_IP, IPT_SO_GET_INFO, &info, &size) != 0) continue;
    sizes[name].assign(reinterpret_cast<const char*>(&info), sizeof info);
  }
  return sizes;
}

}  // namespace

FirewallMonitor FirewallMonitor::create() {
  FirewallMonitor monitor;
  monitor.fd_ = join_nf_tables();
  monitor.raw_.reset(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  return monitor;
}

bool FirewallMonitor::drain() {
  bool changed = false;
  alignas(nlmsghdr) std::array<char, kBuffer> buffer;
  for (;;) {
    const ssize_t size = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno != ENOBUFS) return changed;
    if (size < 0 || static_cast<std::size_t>(size) > buffer.size()) {
      changed = true;  // messages were lost
      continue;
    }
    int left = static_cast<int>(size);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
      changed = changed || is_of_rules(header->nlmsg_type);
    }
  }
}

bool FirewallMonitor::legacy_changed() {
  if (!raw_) return false;
  auto sizes = legacy_sizes(raw_.get());
  const bool changed = std::exchange(asked_, true) && sizes != sizes_;
  sizes_ = std::move(sizes);
  return changed;
}

}  // namespace bondd::rules
