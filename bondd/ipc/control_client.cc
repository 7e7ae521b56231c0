#include "bondd/ipc/control_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace bondd::ipc {
namespace {

TimePoint now() {
  return std::chrono::steady_clock::now();
}

// Readable (or closed) before `deadline`?
bool wait_readable(int fd, TimePoint deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now()).count();
    pollfd entry{fd, POLLIN, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000)));
    if (ready > 0) return true;
    if (ready == 0 && now() >= deadline) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

}  // namespace

Result<UniqueFd> connect_control(const std::filesystem::path& socket) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_failure("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.native().size() >= sizeof address.sun_path) {
    return failure(fmt::format("{}: the path is too long for a socket", socket.native()), ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, socket.c_str(), socket.native().size());
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno_failure(fmt::format("cannot connect to {}", socket.native()));
  }
  return fd;
}

Result<Reply> ask(int fd, const Request& request, Duration limit) {
  const TimePoint deadline = now() + limit;
  const std::string line = render(request) + "\n";
  if (send(fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    return errno_failure("cannot ask the running bondd");
  }
  std::string answer;
  std::array<char, 4096> buffer{};
  while (answer.find('\n') == std::string::npos) {
    if (!wait_readable(fd, deadline)) return failure("the running bondd does not answer", ETIMEDOUT);
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_failure("cannot read the running bondd's answer");
    if (got == 0) return failure("the running bondd went away", ECONNRESET);
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return parse_control_reply(std::string_view(answer).substr(0, answer.find('\n')));
}

Result<Reply> ask(const std::filesystem::path& socket, const Request& request, Duration limit) {
  auto fd = connect_control(socket);
  if (!fd) return tl::make_unexpected(fd.error());
  return ask(fd->get(), request, limit);
}

bool wait_closed(int fd, Duration limit) {
  const TimePoint deadline = now() + limit;
  std::array<char, 256> buffer{};
  while (wait_readable(fd, deadline)) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got == 0 || (got < 0 && errno != EINTR)) return true;
  }
  return false;
}

}  // namespace bondd::ipc
