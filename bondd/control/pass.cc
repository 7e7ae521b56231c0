#include "bondd/control/pass.h"

namespace bondd::control {

Result<Prepared> prepare(Observer& observer, Depth depth, unsigned slot, const Programs& programs,
                         const Inputs& inputs) {
  auto seen = observer.observe(depth, slot, programs, inputs.config ? &*inputs.config : nullptr);
  if (!seen) return tl::make_unexpected(seen.error());
  Prepared out;
  out.facts = std::move(seen->facts);
  out.owned = std::move(seen->owned);
  out.facts.server_addresses = inputs.server_addresses;
  out.facts.server_of = inputs.server_of;
  out.facts.dead = inputs.dead;
  out.facts.path_mtu = inputs.path_mtu;
  out.facts.direct_wan = inputs.direct_wan;
  out.facts.clock_wan = inputs.clock_wan;
  out.facts.speed_test_port = inputs.speed_test_port;
  if (inputs.config) {
    auto planned = plan::plan(*inputs.config, out.facts);
    if (!planned) return tl::make_unexpected(planned.error());
    out.plan = std::move(*planned);
  }
  observer.read_sysctls(out.plan.state, out.owned);
  find_steps(out);
  return out;
}

void find_steps(Prepared& prepared) {
  prepared.steps = plan::diff(prepared.plan.state, prepared.owned);
}

}  // namespace bondd::control
