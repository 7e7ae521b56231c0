// The machine as it is: stat(2), open(2), getifaddrs(3).
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "bondd/base/unique_fd.h"
#include "bondd/config/config.h"

namespace bondd::config {
namespace {

struct FreeIfAddrs {
  void operator()(ifaddrs* list) const { freeifaddrs(list); }
};

std::optional<IpAddress> address_of(const sockaddr* from) {
  if (from == nullptr) return std::nullopt;
  if (from->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, from, sizeof v4);
    return IpAddress::v4(ntohl(v4.sin_addr.s_addr));
  }
  if (from->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, from, sizeof v6);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return IpAddress::v6(bytes);
  }
  return std::nullopt;
}

int length_of(const std::optional<IpAddress>& mask) {
  int length = 0;
  for (std::size_t i = 0; mask && i < mask->size(); ++i) length += std::popcount(mask->data()[i]);
  return length;
}

}  // namespace

Result<CheckContext::FileFacts> SystemContext::stat(const std::filesystem::path& file) const {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) return errno_failure(file.string());
  return FileFacts{S_ISREG(facts.st_mode), facts.st_mode & 0777U, static_cast<std::uint64_t>(facts.st_size)};
}

Result<std::string> SystemContext::read(const std::filesystem::path& file, std::size_t limit) const {
  // Not blocking: what was a file a moment ago may be a pipe now.
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return errno_failure(file.string());
  std::string text;
  std::array<char, 16384> buffer;
  while (text.size() < limit) {
    const ssize_t got = ::read(fd.get(), buffer.data(), std::min(buffer.size(), limit - text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_failure(file.string());
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

std::optional<std::vector<CheckContext::Device>> SystemContext::devices() const {
  ifaddrs* head = nullptr;
  if (getifaddrs(&head) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, FreeIfAddrs> list(head);
  std::vector<Device> devices;
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    auto device = std::find_if(devices.begin(), devices.end(),
                               [&](const Device& known) { return known.name == entry->ifa_name; });
    if (device == devices.end()) device = devices.insert(devices.end(), Device{entry->ifa_name, {}, {}});
    const auto address = address_of(entry->ifa_addr);
    if (!address) continue;
    device->addresses.push_back(IpPrefix{*address, length_of(address_of(entry->ifa_netmask))});
    const bool point_to_point = (entry->ifa_flags & IFF_POINTOPOINT) != 0;
    const auto peer = point_to_point ? address_of(entry->ifa_dstaddr) : std::nullopt;
    if (peer) device->peers.push_back(*peer);
  }
  return devices;
}

}  // namespace bondd::config
