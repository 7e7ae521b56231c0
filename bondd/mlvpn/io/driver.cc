#include "bondd/mlvpn/io/driver.h"

#include <sys/epoll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

// What an epoll event belongs to: a kind above the path's id or watch's index.
constexpr std::uint64_t kTunTag = 1ULL << 32;
constexpr std::uint64_t kPathTag = 2ULL << 32;
constexpr std::uint64_t kWatchTag = 3ULL << 32;
constexpr std::uint64_t kTagMask = ~0ULL << 32;

constexpr auto kBusyRetry = 1ms;  // after ENOBUFS, which no event follows

TimePoint clock_now() {
  return TimePoint(std::chrono::steady_clock::now().time_since_epoch());
}

void add(UdpCounters& sum, const UdpCounters& part) {
  sum.receive_calls += part.receive_calls;
  sum.receive_messages += part.receive_messages;
  sum.send_calls += part.send_calls;
  sum.send_messages += part.send_messages;
  sum.truncated += part.truncated;
  sum.blocked += part.blocked;
  sum.oversize += part.oversize;
  sum.failed += part.failed;
}

}  // namespace

Result<std::unique_ptr<Driver>> Driver::make(std::unique_ptr<Engine> engine, TunDevice tun, bool offloads) {
  // Pacing wants timers that fire when they should; the default slack is 50 us.
  (void)prctl(PR_SET_TIMERSLACK, 1UL);
  std::unique_ptr<Driver> driver(new Driver(std::move(engine), std::move(tun), offloads));
  driver->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!driver->epoll_) return errno_failure("epoll");
  // Edge-triggered: the tun is left unread while the engine has no room.
  if (auto added = driver->add_to_epoll(driver->tun_.fd(), EPOLLIN | EPOLLET, kTunTag); !added) {
    return tl::make_unexpected(added.error());
  }
  return driver;
}

Driver::Driver(std::unique_ptr<Engine> engine, TunDevice tun, bool offloads)
    : engine_(std::move(engine)),
      tun_(std::move(tun)),
      offloads_(offloads),
      reader_(tun_, engine_->pool()),
      coalescer_(tun_.kind(), tun_.offloads().coalesce()) {
  held_.reserve(Coalescer::kMaxPackets);
}

Result<> Driver::add_to_epoll(int fd, std::uint32_t events, std::uint64_t tag) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return errno_failure("epoll");
  return {};
}

Result<> Driver::set_path(LinkId link, UniqueFd socket) {
  const bool was_blocked = paths_[link] != nullptr && paths_[link]->blocked;
  drop_path(link);
  const int fd = socket.get();
  paths_[link] = std::make_unique<Path>(Path{.socket = UdpSocket(std::move(socket), offloads_)});
  path_ids_.push_back(link);
  if (was_blocked) engine_->path_writable(clock_now(), link);
  return add_to_epoll(fd, EPOLLIN, kPathTag | link);
}

void Driver::remove_path(LinkId link) {
  flush();
  drop_path(link);
}

void Driver::drop_path(LinkId link) {
  if (paths_[link] == nullptr) return;
  UdpSocket& socket = paths_[link]->socket;
  engine_->recycle(socket.all_packets());
  add(closed_, socket.counters());
  // Closing does not take it out while the supervisor holds a copy.
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket.fd(), nullptr);
  paths_[link].reset();
  std::erase(path_ids_, link);
}

Result<> Driver::watch(int fd, std::function<void()> readable) {
  watches_.push_back({fd, std::move(readable)});
  return add_to_epoll(fd, EPOLLIN, kWatchTag | (watches_.size() - 1));
}

bool Driver::turn() {
  wait();
  const TimePoint now = clock_now();
  receive(now);
  deliver();
  engine_->end_round();
  arena_.reset();
  read_tun(now);
  if (const auto deadline = engine_->poll_timeout(); deadline && *deadline <= now) {
    engine_->handle_timeout(now);
    deliver();
  }
  retry_blocked(now);
  transmit(now);
  report_events();
  return !tun_gone_;
}

void Driver::flush() {
  transmit(clock_now());
}

// Nothing: until an event. Zero: look at the descriptors, but do not sleep.
std::optional<Duration> Driver::sleep_time(TimePoint now) const {
  if (reader_.ready() && engine_->packet_budget() > 0) return Duration::zero();
  std::optional<TimePoint> deadline = engine_->poll_timeout();
  if (retry_at_ && (!deadline || *retry_at_ < *deadline)) deadline = retry_at_;
  if (!deadline) return std::nullopt;
  return std::max(*deadline - now, Duration::zero());
}

void Driver::wait() {
  std::array<epoll_event, 64> events;
  const std::optional<Duration> sleep = sleep_time(clock_now());
  timespec timeout{};
  if (sleep) {
    timeout.tv_sec =
        static_cast<std::time_t>(std::chrono::duration_cast<std::chrono::seconds>(*sleep).count());
    timeout.tv_nsec = static_cast<long>((*sleep % 1s).count());
  }
  const int count =
      epoll_pwait2(epoll_.get(), events.data(), events.size(), sleep ? &timeout : nullptr, nullptr);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t tag = events[static_cast<std::size_t>(i)].data.u64;
    const std::uint32_t what = events[static_cast<std::size_t>(i)].events;
    const auto index = static_cast<std::size_t>(tag & ~kTagMask);
    if ((tag & kTagMask) == kTunTag) {
      reader_.set_readable();
    } else if ((tag & kTagMask) == kWatchTag) {
      watches_[index].readable();
    } else if (paths_[index] != nullptr) {
      paths_[index]->readable = (what & ~EPOLLOUT) != 0;
      if ((what & EPOLLOUT) != 0) retry_at_ = TimePoint::min();
    }
  }
}

// Each turn another path comes first, so that none goes short when the receive
// memory does not do for all.
void Driver::receive(TimePoint now) {
  ++turns_;
  for (std::size_t i = 0; i < path_ids_.size(); ++i) {
    const LinkId id = path_ids_[(turns_ + i) % path_ids_.size()];
    Path& path = *paths_[id];
    if (!path.readable || arena_.free_slabs() < UdpSocket::kReceiveWithGro) continue;
    path.readable = false;  // epoll says it again while there is more
    bool more = false;
    const auto runs = path.socket.receive(arena_, more);
    if (!runs.empty()) engine_->handle_datagrams(now, id, runs);
  }
}

void Driver::deliver() {
  std::array<PacketRef, 64> packets;
  while (const std::size_t count = engine_->poll_deliver(packets)) {
    for (const PacketRef& packet : std::span{packets}.first(count)) {
      if (!coalescer_.add(packet.bytes())) {
        write_batch();
        (void)coalescer_.add(packet.bytes());
      }
      held_.push_back(packet);
      counters_.tun_tx_bytes += packet.size;
    }
    counters_.tun_tx_packets += count;
  }
  write_batch();
}

void Driver::write_batch() {
  if (coalescer_.empty()) return;
  coalescer_.finish();
  for (std::size_t i = 0; i < coalescer_.writes(); ++i) {
    const TunDevice::Status status = tun_.write(coalescer_.slices(i));
    if (status != TunDevice::Status::kOk) ++counters_.tun_refused;
    if (status == TunDevice::Status::kGone) tun_gone_ = true;
  }
  counters_.tun_writes += coalescer_.writes();
  coalescer_.clear();
  engine_->recycle(held_);
  held_.clear();
}

void Driver::read_tun(TimePoint now) {
  std::array<PacketRef, 128> batch;
  std::size_t reads = kSuperPacketsPerTurn;
  for (std::size_t budget = engine_->packet_budget(); budget > 0;) {
    const std::size_t count = reader_.read(std::span{batch}.first(std::min(budget, batch.size())), reads);
    if (count == 0) break;
    engine_->handle_packets(now, std::span{batch}.first(count));
    budget -= count;
  }
  tun_gone_ = tun_gone_ || reader_.gone();
}

void Driver::transmit(TimePoint now) {
  Transmit burst;
  while (engine_->poll_transmit(now, burst)) {
    if (paths_[burst.path] == nullptr) {
      engine_->recycle(burst.packets);
      continue;
    }
    paths_[burst.path]->dirty = true;
    settle(now, burst.path, paths_[burst.path]->socket.send(burst.to, burst.packets));
  }
  for (const LinkId id : path_ids_) {
    if (!paths_[id]->dirty) continue;
    paths_[id]->dirty = false;
    if (!paths_[id]->blocked) settle(now, id, paths_[id]->socket.flush());
  }
}

void Driver::settle(TimePoint now, LinkId link, UdpSocket::SendStatus status) {
  Path& path = *paths_[link];
  engine_->recycle(path.socket.sent());
  path.socket.clear_sent();
  switch (status) {
    case UdpSocket::SendStatus::kOk:
      return;
    case UdpSocket::SendStatus::kFailed:
      engine_->path_failed(now, link, std::generic_category().message(path.socket.last_error()));
      return;
    case UdpSocket::SendStatus::kBusy:
      retry_at_ = now + kBusyRetry;
      block(now, link, EPOLLIN);
      return;
    case UdpSocket::SendStatus::kBlocked:
      block(now, link, EPOLLIN | EPOLLOUT);
      return;
  }
}

void Driver::block(TimePoint now, LinkId link, std::uint32_t events) {
  set_events(link, events);
  if (paths_[link]->blocked) return;
  paths_[link]->blocked = true;
  engine_->path_blocked(now, link);
}

void Driver::set_events(LinkId link, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = kPathTag | link;
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, paths_[link]->socket.fd(), &event);
}

// Blocked paths have their backlog sent before anything new.
void Driver::retry_blocked(TimePoint now) {
  if (!retry_at_ || *retry_at_ > now) return;
  retry_at_.reset();
  for (const LinkId id : path_ids_) {
    if (!paths_[id]->blocked) continue;
    settle(now, id, paths_[id]->socket.flush());
    if (paths_[id]->socket.has_backlog()) continue;
    set_events(id, EPOLLIN);
    paths_[id]->blocked = false;
    engine_->path_writable(now, id);
  }
}

void Driver::report_events() {
  while (auto event = engine_->poll_event()) {
    if (on_event_) on_event_(*event);
  }
}

DriverCounters Driver::counters() const {
  DriverCounters all = counters_;
  all.tun_read = reader_.counters();
  all.udp = closed_;
  for (const LinkId id : path_ids_) add(all.udp, paths_[id]->socket.counters());
  return all;
}

}  // namespace bondd::mlvpn
