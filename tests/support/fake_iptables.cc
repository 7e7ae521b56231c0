#include "tests/support/fake_iptables.h"

#include <algorithm>
#include <cerrno>

namespace bondd::testing {

using rules::Chain;
using rules::Firewall;
using rules::Jump;
using rules::Table;

Result<> FakeIptables::enter(std::string_view verb, const Firewall& firewall) {
  std::string call(verb);
  for (const Table& table : firewall.tables) {
    for (const Chain& chain : table.chains) call += " " + chain.name;
  }
  calls_.push_back(call);
  ++changes_;
  if (denied_) return errno_failure(call, EPERM);
  if (changes_ >= crash_at_) return errno_failure(call, EINTR);
  if (changes_ == fail_at_) return errno_failure(call, EIO);
  return {};
}

Table& FakeIptables::table(const std::string& name) {
  const auto found = std::find_if(state_.tables.begin(), state_.tables.end(),
                                  [&](const Table& table) { return table.name == name; });
  if (found != state_.tables.end()) return *found;
  state_.tables.push_back({.name = name});
  return state_.tables.back();
}

Result<Firewall> FakeIptables::observe(const rules::ChainFilter& filter) {
  Firewall seen;
  for (const Table& table : state_.tables) {
    Table part{.name = table.name};
    std::copy_if(table.chains.begin(), table.chains.end(), std::back_inserter(part.chains),
                 [&](const Chain& chain) { return filter.matches(chain.name); });
    std::copy_if(table.jumps.begin(), table.jumps.end(), std::back_inserter(part.jumps),
                 [&](const Jump& jump) { return filter.matches(jump.chain); });
    seen.tables.push_back(std::move(part));
  }
  return canonical(seen);
}

Result<> FakeIptables::install(const Firewall& firewall) {
  if (auto entered = enter("install", firewall); !entered) return entered;
  for (const Table& wanted : firewall.tables) {
    Table& there = table(wanted.name);
    for (const Chain& chain : wanted.chains) {
      std::erase_if(there.chains, [&](const Chain& old) { return old.name == chain.name; });
      there.chains.push_back(chain);
    }
    for (const Jump& jump : wanted.jumps) {
      std::erase_if(there.jumps,
                    [&](const Jump& old) { return old.builtin == jump.builtin && old.chain == jump.chain; });
      there.jumps.push_back(jump);
    }
  }
  return {};
}

Result<> FakeIptables::remove(const Firewall& firewall) {
  if (auto entered = enter("remove", firewall); !entered) return entered;
  for (const Table& unwanted : firewall.tables) {
    Table& there = table(unwanted.name);
    for (const Chain& chain : unwanted.chains) {
      std::erase_if(there.chains, [&](const Chain& old) { return old.name == chain.name; });
      std::erase_if(there.jumps, [&](const Jump& old) { return old.chain == chain.name; });
    }
    for (const Jump& jump : unwanted.jumps) {
      std::erase_if(there.jumps,
                    [&](const Jump& old) { return old.builtin == jump.builtin && old.chain == jump.chain; });
    }
  }
  std::erase_if(state_.tables,
                [](const Table& table) { return table.chains.empty() && table.jumps.empty(); });
  return {};
}

}  // namespace bondd::testing
