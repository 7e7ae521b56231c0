#include "bondd/control/resolver.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
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

// Shared with the threads, which may outlive the resolver: getaddrinfo() cannot be called off.
struct Resolver::Channel {
  std::mutex mutex;
  Resolver* owner = nullptr;  // guarded by mutex; null when it is gone
};

Resolver::Resolver(EventLoop& loop) : loop_(loop), channel_(std::make_shared<Channel>()) {
  channel_->owner = this;
}

Resolver::~Resolver() {
  const std::lock_guard lock(channel_->mutex);
  channel_->owner = nullptr;
}

void Resolver::start(const std::string& name, Duration limit, Done done) {
  const std::uint64_t generation = ++generation_;
  done_ = std::move(done);
  if (parse_ip(name)) return finish(generation, resolve(name));
  limit_ = loop_.after(limit, [this, generation, name, limit] {
    finish(generation, failure(fmt::format("{} does not resolve: no answer from the name server within {}",
                                           name, format_duration(limit))));
  });
  std::thread([channel = channel_, generation, name] {
    auto answer = resolve(name);
    const std::lock_guard lock(channel->mutex);
    if (channel->owner == nullptr) return;
    channel->owner->loop_.post([channel, generation, answer = std::move(answer)] {
      // On the loop's thread: the owner cannot go away meanwhile.
      if (channel->owner != nullptr) channel->owner->finish(generation, answer);
    });
  }).detach();
}

void Resolver::finish(std::uint64_t generation, Result<std::vector<IpAddress>> answer) {
  if (generation != generation_ || !done_) return;
  limit_.cancel();
  const Done done = std::exchange(done_, nullptr);
  done(std::move(answer));
}

}  // namespace bondd::control
