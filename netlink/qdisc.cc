#include "netlink/qdisc.h"

#include <fmt/format.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "netlink/socket.h"

namespace bondd::netlink {
namespace {

constexpr std::uint32_t kLimit = 20000;  // packets under way: 0.2 s of 1 Gbit/s

// The kernel's packet scheduler counts in units of 64 ns (PSCHED_SHIFT, net/pkt_sched.h).
std::uint32_t psched_ticks(Duration delay) {
  const auto longest = std::chrono::seconds(4);
  return static_cast<std::uint32_t>(std::clamp<Duration>(delay, Duration{}, longest).count() / 64);
}

}  // namespace

Result<> set_hold_back(const std::string& device, Duration delay) {
  const auto index = static_cast<int>(if_nametoindex(device.c_str()));
  if (index == 0) return failure(fmt::format("no device {}", device), ENODEV);
  auto socket = Socket::open();
  if (!socket) return tl::make_unexpected(socket.error());
  Message message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
  tcmsg& header = message.header<tcmsg>();
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = index;
  header.tcm_parent = TC_H_ROOT;
  tc_netem_qopt options{};
  options.latency = psched_ticks(delay);
  options.limit = kLimit;
  message.put_name(TCA_KIND, "netem");
  message.put_bytes(TCA_OPTIONS, &options, sizeof options);
  return socket->request(message);
}

}  // namespace bondd::netlink
