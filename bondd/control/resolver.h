// Looks the server's name up without ever blocking the loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/control/event_loop.h"

namespace bondd::control {

// The addresses of a name in the system's order of preference; a numeric address is itself,
// at once. Blocks, for a name as long as the system's resolver takes.
Result<std::vector<IpAddress>> resolve(const std::string& name);

class Resolver {
 public:
  using Done = std::function<void(Result<std::vector<IpAddress>>)>;

  // Calls `done` on `loop`: at once (within the call) for a numeric address, else when the answer is
  // there or after `limit`. A newer start() makes an older one silent.
  explicit Resolver(EventLoop& loop);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  void start(const std::string& name, Duration limit, Done done);
  [[nodiscard]] bool busy() const { return static_cast<bool>(done_); }

 private:
  struct Channel;
  void finish(std::uint64_t generation, Result<std::vector<IpAddress>> answer);

  EventLoop& loop_;
  std::shared_ptr<Channel> channel_;
  std::uint64_t generation_ = 0;
  Done done_;
  Registration limit_;
};

}  // namespace bondd::control
