#include "bondd/speedtest/responder.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "bondd/base/inet.h"
#include "bondd/base/secret.h"
#include "bondd/control/event_loop.h"
#include "bondd/speedtest/protocol.h"

namespace bondd::speedtest {
namespace {

using namespace std::chrono_literals;
using control::EventLoop;
using control::Registration;

constexpr auto kLongestLife = 5min;
constexpr auto kFirstMessage = 5s;  // bondd sends it at once
constexpr auto kFirstLine = 5s;     // for the wish of a connection
constexpr auto kAfterWish = 2s;     // beyond its time, for what is in flight
constexpr std::size_t kMostConnections = 16;
constexpr std::size_t kBlock = 64 << 10;
constexpr int kBlocksPerTurn = 8;  // of one connection, then the others have theirs

class Responder {
 public:
  Responder(EventLoop& loop, UniqueFd listener, Secret token, sockaddr_in peer)
      : loop_(loop), listener_(std::move(listener)), token_(std::move(token)), peer_(peer) {
    accept_watch_ = loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_one(); });
    report();
  }

 private:
  struct Connection {
    UniqueFd fd;
    std::string input;
    std::optional<Wish> wish;
    std::uint64_t sent = 0;
    Registration watch, end;
  };

  void accept_one() {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    UniqueFd fd(
        accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd || from.sin_addr.s_addr != peer_.sin_addr.s_addr) return;
    if (connections_.size() >= kMostConnections) return;
    const int number = fd.get();
    Connection& connection = connections_[number];
    connection.fd = std::move(fd);
    end_after(connection, kFirstLine);
    connection.watch = loop_.watch(number, EPOLLIN, [this, number](std::uint32_t) { read_from(number); });
  }

  void end_after(Connection& connection, Duration time) {
    connection.end = loop_.after(time, [this, fd = connection.fd.get()] { connections_.erase(fd); });
  }

  void read_from(int fd) {
    Connection& connection = connections_.at(fd);
    for (int i = 0; i < kBlocksPerTurn; ++i) {
      const ssize_t got = recv(fd, block_.data(), block_.size(), 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      const std::string_view bytes(block_.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
      const bool goes_on = got > 0 && (connection.wish ? take(bytes) : read_wish(connection, bytes));
      if (!goes_on) {
        connections_.erase(fd);
        return;
      }
      if (connection.wish && connection.wish->send) return;
    }
  }

  bool take(std::string_view bytes) {
    taken_ += bytes.size();
    return true;
  }

  bool read_wish(Connection& connection, std::string_view bytes) {
    connection.input += bytes.substr(0, std::min(bytes.size(), kLongestLine));
    const auto end = connection.input.find('\n');
    if (end == std::string::npos) return connection.input.size() < kLongestLine;
    const auto wish = parse_wish(std::string_view(connection.input).substr(0, end));
    if (!wish || !same(secret_of(wish->token), token_)) return false;
    if (!wish->send && !takes_any()) {
      taken_ = 0;
      taken_since_ = EventLoop::now();
    }
    connection.wish = wish;
    end_after(connection, wish->time + kAfterWish);
    if (!wish->send) return take(bytes.substr(bytes.find('\n') + 1));
    send_more(connection);
    return true;
  }

  [[nodiscard]] bool takes_any() const {
    return std::ranges::any_of(
        connections_, [](const auto& entry) { return entry.second.wish && !entry.second.wish->send; });
  }

  void send_more(Connection& connection) {
    const int fd = connection.fd.get();
    // What waits when the time is over is not sent any more.
    const linger at_once{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    end_after(connection, connection.wish->time);
    connection.watch.cancel();
    connection.watch = loop_.watch(fd, EPOLLOUT, [this, fd](std::uint32_t) { send_to(fd); });
  }

  void send_to(int fd) {
    Connection& connection = connections_.at(fd);
    for (int i = 0; i < kBlocksPerTurn; ++i) {
      const std::uint64_t most = connection.wish->bytes;
      const std::size_t size =
          most == 0 ? block_.size() : std::min<std::uint64_t>(block_.size(), most - connection.sent);
      const ssize_t sent = size == 0 ? 0 : send(fd, block_.data(), size, MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (sent < 0) {
        connections_.erase(fd);
        return;
      }
      connection.sent += static_cast<std::uint64_t>(sent);
      if (size == 0) return connection.watch.cancel();  // the tester has seen all of it when it closes
    }
  }

  void report() {
    const std::string line = render(Progress{EventLoop::now() - taken_since_, taken_});
    for (const auto& [fd, connection] : connections_) {
      if (!connection.wish || connection.wish->send) continue;
      // A tester that does not read misses one; the next has all of it.
      [[maybe_unused]] const ssize_t told = send(fd, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    report_timer_ = loop_.after(kReportEvery, [this] { report(); });
  }

  EventLoop& loop_;
  UniqueFd listener_;
  Secret token_;
  sockaddr_in peer_;
  std::map<int, Connection> connections_;
  std::uint64_t taken_ = 0;  // by all connections since taken_since_
  TimePoint taken_since_;
  std::array<char, kBlock> block_{};
  Registration accept_watch_, report_timer_;
};

}  // namespace

Result<> respond(ipc::FdChannel channel) {
  pollfd entry{channel.fd(), POLLIN, 0};
  poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(kFirstMessage).count()));
  auto first = channel.receive();
  if (!first) return tl::make_unexpected(first.error());
  if (!*first || (*first)->fds.size() != 1) return failure("no first message");
  std::string& text = (*first)->text;
  const auto space = text.find(' ');
  const auto peer = parse_ip(space == std::string::npos ? "" : std::string_view(text).substr(space + 1));
  if (!peer || !peer->is_v4()) return failure("no peer in the first message");
  Secret token = secret_of(std::string_view(text).substr(0, space));
  wipe(text);

  auto loop = EventLoop::create();
  if (!loop) return tl::make_unexpected(loop.error());
  const auto closed = (*loop)->watch(channel.fd(), EPOLLIN, [&](std::uint32_t) { (*loop)->quit(); });
  const auto late = (*loop)->after(kLongestLife, [&] { (*loop)->quit(); });
  const Responder responder(**loop, std::move((*first)->fds[0]), std::move(token), to_sockaddr(*peer));
  (*loop)->run();
  return {};
}

}  // namespace bondd::speedtest
