#include "bondd/control/hook_events.h"

#include <fmt/format.h>

#include <algorithm>

#include "bondd/control/events.h"
#include "bondd/supervise/lines.h"

namespace bondd::control {
namespace {

using model::Event;
using model::SiteState;

bool was_heard(const std::string& state) {
  const auto parsed = model::parse_wan_state(state);
  return parsed && model::is_heard(*parsed);
}

bool carried(const std::string& state) {
  const auto parsed = model::parse_site_state(state);
  return parsed && *parsed != SiteState::kDown;
}

// Empty: nobody is called for it.
std::string word_for(const Event& event) {
  if (event.event == "problem") return event.to.empty() ? "problem_over" : "problem";
  const bool of_wan = event.event == "wan";
  const bool before = of_wan ? was_heard(event.from) : carried(event.from);
  const bool after = of_wan ? was_heard(event.to) : carried(event.to);
  if (!before && after) return of_wan ? "rtun_up" : "tuntap_up";
  if (before && !after) return of_wan ? "rtun_down" : "tuntap_down";
  if (event.from.empty()) return "";  // the first look: it is not up yet
  return fmt::format("{}_{}", of_wan ? "wan" : "bond", event.to);
}

std::string joined(const std::vector<IpPrefix>& networks, bool v6) {
  std::string out;
  for (const IpPrefix& network : networks) {
    if (network.address.is_v4() == v6) continue;
    out += (out.empty() ? "" : " ") + to_string(network);
  }
  return out;
}

}  // namespace

bool HookEvents::Threshold::update(TimePoint now, double value, double limit) {
  const bool other_side = crossed ? value < limit * kWellBelow : value > limit;
  if (!other_side) {
    since.reset();
    return false;
  }
  if (!since) since = now;
  if (now - *since < (crossed ? kOver : kLong)) return false;
  crossed = !crossed;
  since.reset();
  return true;
}

void HookEvents::compare(TimePoint now, const model::Hooks& hooks, const Event& blank,
                         const model::WanStatus& wan, std::vector<HookCall>& out) {
  Thresholds& known = thresholds_[wan.name];
  const auto look = [&](Threshold& threshold, std::optional<double> value, std::optional<double> limit,
                        const char* figure, const char* unit) {
    if (!limit) {
      threshold = {};
      return;
    }
    if (!value || !threshold.update(now, *value, *limit)) return;
    HookCall call{fmt::format("wan_{}{}", figure, threshold.crossed ? "" : "_over"), blank};
    call.event.event = figure;
    call.event.wan = wan.name;
    call.event.to = fmt::format("{:.1f}", *value);
    call.event.reason =
        threshold.crossed ? fmt::format("{} is {:.1f} {}, the limit is {:.1f}", figure, *value, unit, *limit)
                          : fmt::format("{} is {:.1f} {} again", figure, *value, unit);
    out.push_back(std::move(call));
  };
  std::optional<double> loss = wan.loss_percent;
  if (wan.tx_loss_percent) loss = std::max(loss.value_or(0), *wan.tx_loss_percent);
  look(known.loss, loss, hooks.loss_above, "loss", "%");
  std::optional<double> latency_limit;
  if (hooks.latency_above) latency_limit = to_ms(*hooks.latency_above);
  look(known.latency, wan.rtt_ms, latency_limit, "latency", "ms");
}

std::vector<HookCall> HookEvents::update(TimePoint now, std::int64_t wall, const model::Hooks& hooks,
                                         const model::SiteStatus& site) {
  std::vector<HookCall> out;
  for (Event& event : changes(wall, before_ ? &*before_ : nullptr, site)) {
    if (std::string word = word_for(event); !word.empty()) out.push_back({std::move(word), std::move(event)});
  }
  Event blank;
  blank.time = wall;
  blank.site = site.name;
  std::erase_if(thresholds_, [&](const auto& known) {
    return std::ranges::none_of(site.wans, [&](const model::WanStatus& wan) {
      return wan.name == known.first && model::is_heard(wan.state);
    });
  });
  for (const model::WanStatus& wan : site.wans) {
    if (model::is_heard(wan.state)) compare(now, hooks, blank, wan, out);
  }
  before_ = site;
  return out;
}

std::vector<std::string> hook_arguments(const model::Config& config, const HookCall& call) {
  std::vector<std::string> out = {config.bond.interface, call.word};
  if (!call.event.wan.empty()) out.push_back(call.event.wan);
  return out;
}

std::vector<std::string> hook_environment(const model::Config& config, std::uint32_t mtu,
                                          const HookCall& call) {
  const bool v6 = !config.bond.address.address.is_v4();
  const std::string own = to_string(config.bond.address);
  const std::string peer = to_string(config.bond.peer);
  const Event& event = call.event;
  std::vector<std::string> out;
  const auto set = [&](const char* name, const std::string& value) {
    out.push_back(fmt::format("{}={}", name, supervise::printable(value)));
  };
  set("IP4", v6 ? "" : own);
  set("IP4_GATEWAY", v6 ? "" : peer);
  set("IP4_ROUTES", joined(config.through_bond, false));
  set("IP6", v6 ? own : "");
  set("IP6_GATEWAY", v6 ? peer : "");
  set("IP6_ROUTES", joined(config.through_bond, true));
  set("DEVICE", config.bond.interface);
  set("MTU", mtu == 0 ? "" : fmt::format("{}", mtu));
  set("BONDD_SITE", config.site);
  set("BONDD_EVENT", call.word);
  set("BONDD_WAN", event.wan);
  set("BONDD_FROM", event.from);
  set("BONDD_TO", event.to);
  set("BONDD_REASON", event.reason);
  set("BONDD_TIME", fmt::format("{}", event.time));
  return out;
}

}  // namespace bondd::control
