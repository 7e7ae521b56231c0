#include "bondd/speedtest/transfer.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "bondd/base/inet.h"
#include "bondd/control/peer_ping.h"
#include "bondd/speedtest/protocol.h"
#include "bondd/speedtest/rate.h"

namespace bondd::speedtest {
namespace {

using namespace std::chrono_literals;
using control::EventLoop;
using control::Registration;

// As many as a browser opens to a server: one loss does not halve the whole.
constexpr unsigned kConnections = 4;
constexpr auto kConnectLimit = 5s;
constexpr auto kPingEvery = 100ms;
constexpr std::size_t kBlock = 64 << 10;
constexpr int kBlocksPerTurn = 8;

Result<UniqueFd> connect_to(const Place& place) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_failure("socket");
  const sockaddr_in own = to_sockaddr(place.own);
  const sockaddr_in to = to_sockaddr(place.peer, place.port);
  // What still waits here when the time is over is not sent any more.
  const linger at_once{1, 0};
  if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, place.device.c_str(),
                 static_cast<socklen_t>(place.device.size())) != 0 ||
      setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
    return errno_failure(fmt::format("cannot connect through {}", place.device));
  }
  int error = connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd entry{fd.get(), POLLOUT, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(kConnectLimit).count()));
    socklen_t size = sizeof error;
    if (ready == 0) error = ETIMEDOUT;
    if (ready > 0) getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error == 0) return fd;
  return errno_failure(fmt::format("no connection to TCP port {} of {}; a firewall of that end may refuse it",
                                   place.port, to_string(place.peer)),
                       error);
}

// Echo requests through the bond, each kPingEvery, and how long their answers took.
class Latency {
 public:
  static Result<std::unique_ptr<Latency>> start(EventLoop& loop, const Place& place) {
    std::unique_ptr<Latency> latency(new Latency(loop));
    auto ping = control::PeerPing::create(loop, place.device, place.peer,
                                          [raw = latency.get()](std::uint16_t number) { raw->note(number); });
    if (!ping) return tl::make_unexpected(ping.error());
    latency->ping_ = std::move(*ping);
    latency->send();
    return latency;
  }

  // Of the requests that were sent at or after `since`.
  [[nodiscard]] std::optional<double> median_ms(TimePoint since) const {
    std::vector<double> ms;
    for (const auto& [sent, took] : answers_) {
      if (sent >= since) ms.push_back(took);
    }
    return median(std::move(ms));
  }

 private:
  explicit Latency(EventLoop& loop) : loop_(loop) {}

  void send() {
    sent_at_[ping_->send()] = EventLoop::now();
    timer_ = loop_.after(kPingEvery, [this] { send(); });
  }

  void note(std::uint16_t number) {
    const auto sent = sent_at_.find(number);
    if (sent == sent_at_.end()) return;
    answers_.emplace_back(sent->second, to_ms(EventLoop::now() - sent->second));
    sent_at_.erase(sent);
  }

  EventLoop& loop_;
  std::unique_ptr<control::PeerPing> ping_;
  std::map<std::uint16_t, TimePoint> sent_at_;
  std::vector<std::pair<TimePoint, double>> answers_;
  Registration timer_;
};

class Transfer {
 public:
  Transfer(EventLoop& loop, Direction direction, std::uint64_t most_bytes)
      : loop_(loop), direction_(direction), most_(most_bytes), began_(EventLoop::now()) {}

  Result<> open(const Place& place) {
    const Wish wish{place.token, direction_ == Direction::kDown, kTransferTime, most_};
    const std::string line = render(wish);
    for (unsigned i = 0; i < kConnections; ++i) {
      auto fd = connect_to(place);
      if (!fd) return tl::make_unexpected(fd.error());
      connections_.push_back({std::move(*fd), {}, {}});
    }
    began_ = EventLoop::now();
    for (Connection& connection : connections_) {
      const int fd = connection.fd.get();
      if (send(fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
        return errno_failure("the other end ended the test");
      watch(connection, direction_ == Direction::kUp ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
    if (direction_ == Direction::kDown) sample();
    return {};
  }

  void run() {
    const TimePoint end = began_ + kTransferTime;
    for (TimePoint now = EventLoop::now(); now < end && !done(); now = EventLoop::now())
      loop_.turn(end - now);
    if (direction_ == Direction::kDown) samples_.push_back({EventLoop::now() - began_, bytes_});
    // At once: what is in flight must not be in the way of what comes next.
    connections_.clear();
  }

  [[nodiscard]] Transferred result(const Latency& latency) const {
    Transferred out;
    out.mbit = rate_mbit(samples_);
    out.bytes = bytes_;
    const Duration whole = EventLoop::now() - began_;
    out.rtt_ms = latency.median_ms(began_ + std::min<Duration>(kWarmUp, whole / 2));
    return out;
  }

 private:
  struct Connection {
    UniqueFd fd;
    std::string input;
    Registration watch;
  };

  [[nodiscard]] bool done() const {
    const bool all_gone =
        std::ranges::none_of(connections_, [](const Connection& one) { return !!one.watch; });
    if (all_gone) return true;
    if (most_ == 0 || bytes_ < most_) return false;
    // What was sent is measured when it has arrived.
    return direction_ == Direction::kDown || (!samples_.empty() && samples_.back().bytes >= most_);
  }

  void watch(Connection& connection, std::uint32_t events) {
    connection.watch.cancel();
    connection.watch = loop_.watch(connection.fd.get(), events, [this, &connection](std::uint32_t ready) {
      if ((ready & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) receive(connection);
      if ((ready & EPOLLOUT) != 0) send_more(connection);
    });
  }

  void receive(Connection& connection) {
    for (int i = 0; i < kBlocksPerTurn && connection.watch; ++i) {
      const ssize_t got = recv(connection.fd.get(), block_.data(), block_.size(), 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (got <= 0) return connection.watch.cancel();
      if (direction_ == Direction::kDown) {
        bytes_ += static_cast<std::uint64_t>(got);
      } else {
        take_reports(connection, {block_.data(), static_cast<std::size_t>(got)});
      }
    }
  }

  void take_reports(Connection& connection, std::string_view bytes) {
    connection.input += bytes;
    for (std::size_t end = 0; (end = connection.input.find('\n')) != std::string::npos;) {
      const auto progress = parse_progress(std::string_view(connection.input).substr(0, end));
      connection.input.erase(0, end + 1);
      if (!progress) return connection.watch.cancel();
      // Each connection brings the figures of all; those of another may be newer.
      const bool newer = samples_.empty() ||
                         (progress->time > samples_.back().time && progress->bytes >= samples_.back().bytes);
      if (newer) samples_.push_back(*progress);
    }
    if (connection.input.size() > kLongestLine) connection.watch.cancel();
  }

  void send_more(Connection& connection) {
    for (int i = 0; i < kBlocksPerTurn && connection.watch; ++i) {
      const std::size_t size =
          most_ == 0 ? block_.size() : std::min<std::uint64_t>(block_.size(), most_ - bytes_);
      if (size == 0) return watch(connection, EPOLLIN);
      const ssize_t sent = send(connection.fd.get(), block_.data(), size, MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (sent < 0) return connection.watch.cancel();
      bytes_ += static_cast<std::uint64_t>(sent);
    }
  }

  void sample() {
    samples_.push_back({EventLoop::now() - began_, bytes_});
    timer_ = loop_.after(kReportEvery, [this] { sample(); });
  }

  EventLoop& loop_;
  Direction direction_;
  std::uint64_t most_, bytes_ = 0;
  TimePoint began_;
  std::vector<Progress> samples_;
  std::array<char, kBlock> block_{};
  std::list<Connection> connections_;
  Registration timer_;
};

}  // namespace

Result<Transferred> transfer(EventLoop& loop, const Place& place, Direction direction,
                             std::uint64_t most_bytes) {
  auto latency = Latency::start(loop, place);
  if (!latency) return tl::make_unexpected(latency.error());
  Transfer transfer(loop, direction, most_bytes);
  if (auto opened = transfer.open(place); !opened) return tl::make_unexpected(opened.error());
  transfer.run();
  return transfer.result(**latency);
}

Result<std::optional<double>> idle_latency(EventLoop& loop, const Place& place, Duration time) {
  auto latency = Latency::start(loop, place);
  if (!latency) return tl::make_unexpected(latency.error());
  const TimePoint begin = EventLoop::now();
  for (TimePoint now = begin; now < begin + time; now = EventLoop::now()) loop.turn(begin + time - now);
  return (*latency)->median_ms(begin);
}

}  // namespace bondd::speedtest
