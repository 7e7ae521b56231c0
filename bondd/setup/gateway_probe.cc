#include "bondd/setup/gateway_probe.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "bondd/base/unique_fd.h"
#include "bondd/setup/discover.h"
#include "bondd/setup/frames.h"

namespace bondd::setup {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kArpPatience =
    milliseconds(700);  // a sleeping phone needs no answer, a router gives it in 10 ms
constexpr auto kHopPatience = milliseconds(1200);  // a satellite line's round trip is 600 ms
constexpr std::size_t kBurst = 64;                 // requests at once; the rest a little later
constexpr auto kBurstGap = milliseconds(10);
constexpr std::size_t kMostHosts = 256;  // asked to forward

struct Port {
  UniqueFd fd;
  int index = 0;
  MacAddress mac;
};

Result<Port> open_port(const std::string& device) {
  Port port;
  port.fd = UniqueFd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!port.fd) return errno_failure(fmt::format("cannot look for gateways on {}", device));
  ifreq request{};
  std::memcpy(request.ifr_name, device.data(), std::min(device.size(), sizeof request.ifr_name - 1));
  if (ioctl(port.fd.get(), SIOCGIFHWADDR, &request) != 0) return errno_failure(device);
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
    return failure(fmt::format("{} is not an Ethernet device", device));
  std::copy_n(request.ifr_hwaddr.sa_data, port.mac.bytes.size(), port.mac.bytes.begin());
  if (ioctl(port.fd.get(), SIOCGIFINDEX, &request) != 0) return errno_failure(device);
  port.index = request.ifr_ifindex;
  sockaddr_ll here{};
  here.sll_family = AF_PACKET;
  here.sll_protocol = htons(ETH_P_ALL);
  here.sll_ifindex = port.index;
  if (bind(port.fd.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0)
    return errno_failure(device);
  return port;
}

void send_all(const Port& port, const std::vector<std::vector<std::uint8_t>>& frames) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (i != 0 && i % kBurst == 0) std::this_thread::sleep_for(kBurstGap);
    // One that is lost is a host that is not found.
    [[maybe_unused]] const ssize_t sent = send(port.fd.get(), frames[i].data(), frames[i].size(), 0);
  }
}

void listen(const Port& port, milliseconds patience,
            const std::function<void(std::span<const std::uint8_t>)>& take) {
  const auto end = steady_clock::now() + patience;
  std::array<std::uint8_t, 2048> buffer{};
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now()).count();
    if (left <= 0) return;
    pollfd wanted{port.fd.get(), POLLIN, 0};
    if (poll(&wanted, 1, static_cast<int>(left)) <= 0) continue;
    const ssize_t got = recv(port.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) take(std::span(buffer).first(static_cast<std::size_t>(got)));
  }
}

std::vector<IpAddress> hosts_of(const IpPrefix& own, const std::vector<IpAddress>& known) {
  std::vector<IpAddress> hosts = known;
  // A provider's network is not ours to search.
  if (own.length < kSmallestPrefix || own.length > 30 || !is_private(own.address)) return hosts;
  const std::uint32_t first = own.network().address.v4_number();
  for (std::uint32_t i = 1; i + 1 < (1U << (32U - static_cast<unsigned>(own.length))); ++i) {
    const IpAddress host = IpAddress::v4(first + i);
    if (host != own.address && std::find(known.begin(), known.end(), host) == known.end())
      hosts.push_back(host);
  }
  return hosts;
}

std::vector<Neighbour> find_neighbours(const Port& port, const Ethernet& ethernet,
                                       const std::vector<IpAddress>& hosts) {
  std::vector<std::vector<std::uint8_t>> requests;
  for (const IpAddress& host : hosts) requests.push_back(arp_request(ethernet, host));
  send_all(port, requests);
  std::map<IpAddress, MacAddress> found;
  listen(port, kArpPatience, [&](std::span<const std::uint8_t> frame) {
    const auto reply = parse_arp_reply(frame);
    if (reply && std::find(hosts.begin(), hosts.end(), reply->address) != hosts.end() &&
        found.size() < kMostHosts) {
      found.emplace(reply->address, reply->mac);
    }
  });
  std::vector<Neighbour> out;
  for (const auto& [address, mac] : found) out.push_back({address, mac});
  return out;
}

}  // namespace

Result<std::vector<Gateway>> probe_gateways(const std::string& device, const IpPrefix& own,
                                            const IpAddress& target, const std::vector<IpAddress>& known) {
  auto port = open_port(device);
  if (!port) return tl::make_unexpected(port.error());
  const Ethernet ethernet{port->mac, own.address};
  const auto neighbours = find_neighbours(*port, ethernet, hosts_of(own, known));
  std::vector<std::vector<std::uint8_t>> probes;
  for (unsigned ttl = 1; ttl <= kProbeHops; ++ttl) {
    for (unsigned host = 0; host < neighbours.size(); ++host) {
      probes.push_back(hop_probe(ethernet, neighbours[host].mac, target, host, ttl));
    }
  }
  send_all(*port, probes);
  std::map<IpAddress, bool> gateways;  // and whether it leads on
  std::set<IpAddress> relays;          // forward to another gateway of the same LAN: no line of their own
  listen(*port, kHopPatience, [&](std::span<const std::uint8_t> frame) {
    const auto answer = parse_hop_answer(frame);
    if (!answer || answer->host >= neighbours.size() || answer->from == own.address) return;
    const IpAddress& host = neighbours[answer->host].address;
    if (answer->from != host && own.contains(answer->from)) relays.insert(host);
    gateways[host] = gateways[host] || answer->from != host;
  });
  std::erase_if(gateways, [&](const auto& gateway) { return relays.contains(gateway.first); });
  for (const Neighbour& there : neighbours) {
    if (std::find(known.begin(), known.end(), there.address) != known.end())
      gateways.try_emplace(there.address, false);
  }
  std::vector<Gateway> out;
  for (const auto& [address, leads_on] : gateways) out.push_back({address, leads_on});
  return out;
}

}  // namespace bondd::setup
