// The machine's files as they are: stat(2), open(2).
#include <fcntl.h>
#include <net/if.h>
#include <string.h>  // explicit_bzero
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <string_view>

#include "bondd/base/secret.h"
#include "bondd/base/unique_fd.h"
#include "bondd/config/config.h"

namespace bondd::config {

Result<CheckContext::FileFacts> SystemContext::stat(const std::filesystem::path& file) const {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) return errno_failure(file.string());
  return FileFacts{S_ISREG(facts.st_mode), facts.st_mode & 0777U, static_cast<std::uint64_t>(facts.st_size),
                   unsafe_path(file)};
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
  explicit_bzero(buffer.data(), buffer.size());  // it may be a secret
  return text;
}

std::optional<netlink::Snapshot> SystemContext::network() const {
  if (!read_network_) return std::nullopt;
  auto network = read_network_();
  return network ? std::optional(std::move(*network)) : std::nullopt;
}

// The kernel finds a device by either kind of name, and tells the one that it is called by.
std::string SystemContext::device_with_altname(const std::string& name) const {
  std::array<char, IF_NAMESIZE> called{};
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0 || if_indextoname(index, called.data()) == nullptr || name == called.data()) return {};
  return called.data();
}

namespace {

constexpr unsigned kTcpListen = 10, kUdpUnconnected = 7;  // net/tcp_states.h

// Lines like "  0: 00000000:0016 00000000:0000 0A …": local and remote address and port in hex, as the
// machine stores them, and the state.
void add_listeners(const char* file, model::Protocol proto, unsigned state,
                   std::vector<CheckContext::Listener>& out) {
  std::ifstream lines(file);
  std::string line;
  std::getline(lines, line);  // the heading
  while (std::getline(lines, line)) {
    std::array<char, 40> local{}, remote{};
    unsigned port = 0, remote_port = 0, in_state = 0;
    if (std::sscanf(line.c_str(), " %*u: %39[0-9A-F]:%x %39[0-9A-F]:%x %x", local.data(), &port,
                    remote.data(), &remote_port, &in_state) != 5) {
      continue;
    }
    const std::string_view address(local.data());
    // 127.0.0.0/8, plain and mapped to IPv6, and ::1; the bytes of each word are turned on little-endian
    // machines.
    if (address.size() < 8) continue;
    const std::string_view last = address.substr(address.size() - 8);
    const bool loopback = last.ends_with("7F") || (address.size() > 8 && last == "01000000");
    if (in_state == state && remote_port == 0 && !loopback) {
      out.push_back({proto, static_cast<std::uint16_t>(port)});
    }
  }
}

}  // namespace

std::vector<CheckContext::Listener> SystemContext::listeners() const {
  std::vector<Listener> out;
  add_listeners("/proc/net/tcp", model::Protocol::kTcp, kTcpListen, out);
  add_listeners("/proc/net/tcp6", model::Protocol::kTcp, kTcpListen, out);
  add_listeners("/proc/net/udp", model::Protocol::kUdp, kUdpUnconnected, out);
  add_listeners("/proc/net/udp6", model::Protocol::kUdp, kUdpUnconnected, out);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<std::string> SystemContext::sites_beside(const std::filesystem::path& file) const {
  std::vector<std::string> names;
  std::error_code ignored;
  const auto directory = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace bondd::config
