#include "bondd/main/foreign_look.h"

#include <chrono>
#include <set>

#include "bondd/control/blocked_ways.h"
#include "bondd/control/observer.h"
#include "bondd/control/preflight.h"
#include "bondd/control/run_dir.h"
#include "bondd/control/sysctls.h"
#include "bondd/ipc/control_client.h"
#include "bondd/plan/firewall.h"
#include "bondd/plan/foreign.h"
#include "bondd/plan/tunnels.h"
#include "bondd/problems/find.h"
#include "netlink/rtnl.h"
#include "rules/iptables.h"

namespace bondd {
namespace {

constexpr auto kAskLimit = std::chrono::seconds(2);

// The WANs on which a running site hears the other end: nothing drops their tunnels' packets.
std::set<std::string> heard_wans(const control::RunDirView& view) {
  if (!view.running()) return {};
  const auto reply = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  if (!reply) return {};
  const auto status = ipc::parse_status(reply->status);
  return status ? model::heard_names(status->wans) : std::set<std::string>{};
}

}  // namespace

Others look_for_foreign(const model::Config& config, const std::filesystem::path& run_root) {
  auto rtnl = netlink::make_rtnl();
  auto iptables = rules::make_iptables();
  if (!rtnl || !iptables) return {};
  const auto sysctls = control::make_sysctls();
  const control::RunDirView view(run_root, config.site);
  control::Observer observer(rtnl->get(), iptables->get(), sysctls.get(), &view, nullptr);
  observer.tolerate_unreadable_firewall();
  const unsigned slot = view.slot().value_or(control::lowest_free_slot(run_root).value_or(0));
  auto seen = observer.observe(control::Depth::kAll, slot, {}, &config);
  if (!seen) return {};
  if (auto address = parse_ip(config.server.address)) seen->facts.server_addresses = {*address};
  const rules::Firewall wanted_chains = plan::plan_firewall(config, seen->facts, plan::tunnels(config));
  Others others{(*iptables)->obstacles(wanted_chains), plan::foreign_notes(config, seen->facts)};
  if (control::has_network_rights()) {
    for (control::Blocked& one :
         control::blocked_ways(control::promised_ways(config, seen->facts),
                               (*iptables)->ruleset_with(wanted_chains), heard_wans(view)))
      others.notes.push_back({"", std::move(one.text)});
  }
  model::DesiredState wanted;
  plan::plan_settings(config, seen->facts, wanted);
  observer.read_sysctls(wanted, seen->owned);
  for (const model::FixedSysctl& fixed : seen->owned.fixed_sysctls) {
    const std::string text = problems::to_line(problems::about_fixed(config, fixed));
    if (fixed.wanted.need == model::Need::kMust) others.obstacles.push_back(text);
    if (fixed.wanted.need == model::Need::kShould) others.notes.push_back({"", text});
  }
  return others;
}

}  // namespace bondd
