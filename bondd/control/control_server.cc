#include "bondd/control/control_server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace bondd::control {
namespace {

constexpr std::size_t kMaxConnections = 32;
constexpr std::size_t kMaxRequest = 8192;  // bytes of one line

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::listen(EventLoop& loop,
                                                             const std::filesystem::path& path,
                                                             Handler handler, OnClosed on_closed) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_failure("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) {
    return failure(fmt::format("{}: the path is too long for a socket", path.native()), ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  unlink(path.c_str());  // whoever owned it is dead: we hold the site's lock
  const mode_t before = umask(0177);
  const bool bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  umask(before);
  if (!bound || ::listen(fd.get(), 8) != 0)
    return errno_failure(fmt::format("cannot listen at {}", path.native()));
  return std::unique_ptr<ControlServer>(
      new ControlServer(loop, path, std::move(fd), std::move(handler), std::move(on_closed)));
}

ControlServer::ControlServer(EventLoop& loop, std::filesystem::path path, UniqueFd fd, Handler handler,
                             OnClosed on_closed)
    : loop_(loop),
      path_(std::move(path)),
      fd_(std::move(fd)),
      handler_(std::move(handler)),
      on_closed_(std::move(on_closed)) {
  watch_ = loop_.watch(fd_.get(), EPOLLIN, [this](std::uint32_t) { accept_all(); });
}

ControlServer::~ControlServer() {
  unlink(path_.c_str());
}

void ControlServer::accept_all() {
  for (;;) {
    UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    if (connections_.size() >= kMaxConnections) continue;
    const int number = fd.get();
    Connection& connection = connections_[number];
    connection.fd = std::move(fd);
    connection.number = ++last_number_;
    connection.watch = loop_.watch(number, EPOLLIN, [this, number](std::uint32_t) { read_from(number); });
  }
}

void ControlServer::read_from(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  std::array<char, 4096> buffer{};
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  bool keep = got > 0;
  if (keep) connection.input.append(buffer.data(), static_cast<std::size_t>(got));
  for (std::size_t end = 0; keep && (end = connection.input.find('\n')) != std::string::npos;) {
    const std::string line = connection.input.substr(0, end);
    connection.input.erase(0, end + 1);
    keep = answer(connection, line);
  }
  if (!keep || connection.input.size() > kMaxRequest) close(fd);
}

void ControlServer::close(int fd) {
  const std::uint64_t number = connections_.at(fd).number;
  connections_.erase(fd);
  on_closed_(number);
}

bool ControlServer::answer(Connection& connection, const std::string& line) {
  auto request = ipc::parse_control_request(line);
  const ipc::Reply reply =
      request ? handler_(*request, connection.number) : ipc::Reply{false, {request.error().message}, {}};
  connection.listens = connection.listens || (request && request->command == ipc::Command::kMonitor);
  return send_line(connection, ipc::render(reply));
}

// A client that does not read what it is sent is not waited for.
bool ControlServer::send_line(const Connection& connection, const std::string& line) {
  const std::string text = line + "\n";
  return send(connection.fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(text.size());
}

bool ControlServer::has_listeners() const {
  return std::ranges::any_of(connections_, [](const auto& entry) { return entry.second.listens; });
}

void ControlServer::tell(const std::string& line) {
  std::vector<int> deaf;
  for (const auto& [fd, connection] : connections_) {
    if (connection.listens && !send_line(connection, line)) deaf.push_back(fd);
  }
  for (const int fd : deaf) close(fd);
}

}  // namespace bondd::control
