#include "bondd/control/resolver.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

namespace bondd::control {
namespace {

std::optional<IpAddress> from_sockaddr(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, bytes.size());
    return IpAddress::v4(bytes);
  }
  if (address->sa_family == AF_INET6) {
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, bytes.size());
    return IpAddress::v6(bytes);
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<IpAddress>> resolve(const std::string& name) {
  if (auto numeric = parse_ip(name)) return std::vector{*numeric};
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* list = nullptr;
  if (const int code = getaddrinfo(name.c_str(), nullptr, &hints, &list); code != 0) {
    return failure(fmt::format("{} does not resolve: {}", name, gai_strerror(code)));
  }
  std::vector<IpAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    const auto address = from_sockaddr(entry->ai_addr);
    if (address && std::find(addresses.begin(), addresses.end(), *address) == addresses.end()) {
      addresses.push_back(*address);
    }
  }
  freeaddrinfo(list);
  if (addresses.empty()) return failure(fmt::format("{} does not resolve: it has no address", name));
  return addresses;
}

std::optional<Result<std::vector<IpAddress>>> resolve_within(const std::string& name, Duration limit) {
  struct Waiting {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<std::vector<IpAddress>>> answer;
  };
  const auto waiting = std::make_shared<Waiting>();  // getaddrinfo() cannot be called off
  std::thread([waiting, name] {
    auto answer = resolve(name);
    const std::lock_guard lock(waiting->mutex);
    waiting->answer = std::move(answer);
    waiting->changed.notify_one();
  }).detach();
  std::unique_lock lock(waiting->mutex);
  waiting->changed.wait_for(lock, limit, [&] { return waiting->answer.has_value(); });
  return waiting->answer;
}

// Shared with the threads, which may outlive the resolver: getaddrinfo() cannot be called off.
struct Resolver::Channel {
  std::mutex mutex;
  Resolver* owner = nullptr;  // guarded by mutex; null when it is gone
};

Resolver::Resolver(EventLoop& loop, Lookup system)
    : loop_(loop), system_(std::move(system)), channel_(std::make_shared<Channel>()) {
  channel_->owner = this;
}

Resolver::~Resolver() {
  const std::lock_guard lock(channel_->mutex);
  channel_->owner = nullptr;
}

void Resolver::start(const std::string& name, Duration limit, Lookup other_way, Judge judge, Done done) {
  ++generation_;
  name_ = name;
  other_way_ = std::move(other_way);
  judge_ = std::move(judge);
  done_ = std::move(done);
  system_answer_.reset();
  other_asked_ = other_failed_ = false;
  if (parse_ip(name)) return finish(judged(resolve(name)));
  limit_ = loop_.after(limit, [this, limit] {
    finish(failure(fmt::format("{} does not resolve: no answer from the name server within {}", name_,
                               format_duration(limit))));
  });
  patience_ = loop_.after(kSystemPatience, [this] { ask_other_way(); });
  look_up(system_, &Resolver::take_system);
}

// Hands what `lookup` finds to `take`, on the loop, unless there was a newer start() meanwhile.
void Resolver::look_up(const Lookup& lookup, void (Resolver::*take)(const Answer&)) {
  std::thread([channel = channel_, generation = generation_, name = name_, lookup, take] {
    auto answer = lookup(name);
    const std::lock_guard lock(channel->mutex);
    if (channel->owner == nullptr) return;
    channel->owner->loop_.post([channel, generation, take, answer = std::move(answer)] {
      // On the loop's thread: the owner cannot go away meanwhile.
      Resolver* owner = channel->owner;
      if (owner != nullptr && owner->generation_ == generation && owner->done_) (owner->*take)(answer);
    });
  }).detach();
}

void Resolver::ask_other_way() {
  if (!other_way_ || std::exchange(other_asked_, true)) return;
  look_up(other_way_, &Resolver::take_other);
}

void Resolver::take_system(const Answer& said) {
  Answer answer = judged(said);
  if (answer || !other_way_ || other_failed_) return finish(std::move(answer));
  system_answer_ = std::move(answer);
  patience_ = loop_.after(kOtherPatience, [this] { finish(std::move(*system_answer_)); });
  ask_other_way();
}

void Resolver::take_other(const Answer& said) {
  Answer answer = judged(said);
  // An answer without use tells more than the system's failure to get any.
  if (answer || (said && system_answer_)) return finish(std::move(answer));
  other_failed_ = true;
  if (system_answer_) finish(std::move(*system_answer_));
}

void Resolver::finish(Answer answer) {
  if (!done_) return;
  limit_.cancel();
  patience_.cancel();
  const Done done = std::exchange(done_, nullptr);
  done(std::move(answer));
}

}  // namespace bondd::control
