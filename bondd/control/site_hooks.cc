#include "bondd/control/site_hooks.h"

#include <fmt/format.h>

#include <ctime>

namespace bondd::control {

void SiteHooks::run(const model::Config& config, std::uint32_t mtu, const HookCall& call,
                    std::function<void(const HookRunner::Outcome&)> on_end) {
  HookRunner::Run run;
  run.argv = {config.hooks.run.string()};
  for (std::string& argument : hook_arguments(config, call)) run.argv.push_back(std::move(argument));
  run.environment = hook_environment(config, mtu, call);
  run.timeout = config.hooks.timeout;
  run.on_end = std::move(on_end);
  runner_.add(std::move(run));
}

void SiteHooks::follow(const model::Config& config, std::uint32_t mtu, const model::SiteStatus& site) {
  if (config.hooks.run.empty()) {
    events_ = {};
    return;
  }
  for (const HookCall& call : events_.update(EventLoop::now(), std::time(nullptr), config.hooks, site))
    run(config, mtu, call, {});
}

ipc::Reply SiteHooks::test(const model::Config& config, std::uint32_t mtu, std::uint64_t connection) {
  const auto known = tests_.find(connection);
  if (known != tests_.end()) {
    if (!known->second) return {};
    ipc::Reply reply{known->second->ok, known->second->output, {}};
    reply.messages.push_back(known->second->ended);
    tests_.erase(known);
    return reply;
  }
  if (config.hooks.run.empty()) {
    return {false,
            {fmt::format(
                "the file of {0} has no hook; write [hooks] and run = \"PROGRAM\", then `bondd reload {0}`",
                config.site)},
            {}};
  }
  tests_[connection];
  HookCall call{"test", {}};
  call.event.time = std::time(nullptr);
  call.event.site = config.site;
  call.event.event = "test";
  call.event.reason = "`bondd hooks test` was typed";
  run(config, mtu, call, [this, connection](const HookRunner::Outcome& outcome) {
    if (const auto test = tests_.find(connection); test != tests_.end()) test->second = outcome;
  });
  return {};
}

}  // namespace bondd::control
