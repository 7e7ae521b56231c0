// The hook program of a site: what it is run for (hook_events.h), how (hook_runner.h), and `bondd hooks
// test`.
#pragma once

#include <map>
#include <optional>

#include "bondd/control/hook_events.h"
#include "bondd/control/hook_runner.h"
#include "bondd/ipc/messages.h"

namespace bondd::control {

class SiteHooks {
 public:
  // Both borrowed.
  SiteHooks(EventLoop& loop, Log& log) : runner_(loop, log) {}

  // Runs the program for what changed since the last call. Without [hooks] all is forgotten. `mtu` is the
  // bond's; 0: not known.
  void follow(const model::Config& config, std::uint32_t mtu, const model::SiteStatus& site);

  // The first one of a connection runs the program with the word "test". Each is answered at once: without
  // messages while it runs, then with its output and how it ended. `ok` is its exit status 0.
  ipc::Reply test(const model::Config& config, std::uint32_t mtu, std::uint64_t connection);
  void closed(std::uint64_t connection) { tests_.erase(connection); }

 private:
  void run(const model::Config& config, std::uint32_t mtu, const HookCall& call,
           std::function<void(const HookRunner::Outcome&)> on_end);

  HookEvents events_;
  // By connection; empty while it runs.
  std::map<std::uint64_t, std::optional<HookRunner::Outcome>> tests_;
  HookRunner runner_;  // last: it calls into the others
};

}  // namespace bondd::control
