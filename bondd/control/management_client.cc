#include "bondd/control/management_client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace bondd::control {

Result<ManagementClient> ManagementClient::connect(const std::filesystem::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& path = socket.native();
  if (path.size() >= sizeof address.sun_path) {
    return failure(fmt::format("the name of the socket {} is too long", path), ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_failure("socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno_failure(path);
  }
  const std::string_view command = render(openvpn::Command::kStateOn);
  if (::send(fd.get(), command.data(), command.size(), MSG_NOSIGNAL) < 0) return errno_failure(path);
  return ManagementClient(std::move(fd));
}

ManagementClient::Received ManagementClient::receive() {
  Received out;
  std::array<char, 4096> buffer{};
  // A bounded number of reads: openvpn must not keep the loop to itself.
  for (int i = 0; i < 16; ++i) {
    const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      out.closed = true;
      break;
    }
    for (openvpn::Message& message : reader_.feed({buffer.data(), static_cast<std::size_t>(n)})) {
      out.messages.push_back(std::move(message));
    }
  }
  return out;
}

}  // namespace bondd::control
