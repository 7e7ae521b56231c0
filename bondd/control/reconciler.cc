#include "bondd/control/reconciler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace bondd::control {

Result<Pass> Reconciler::reconcile(Depth depth) {
  auto prepared = prepare(observer_, depth, slot_, programs_, inputs_);
  if (!prepared) return tl::make_unexpected(prepared.error());
  network_ = std::move(prepared->facts.network);
  plan_ = std::move(prepared->plan);
  fixed_ = std::move(prepared->owned.fixed_sysctls);

  Pass pass;
  pass.steps = std::move(prepared->steps);
  pass.errors = executor_.execute(pass.steps);
  pass.not_set_up = executor_.not_set_up();
  remember_firewall(pass, plan_.state);
  return pass;
}

Result<Prepared> Reconciler::prepare_with(const model::Config& config) {
  Inputs inputs = inputs_;
  inputs.config = config;
  return prepare(observer_, Depth::kNetwork, slot_, programs_, inputs);
}

// After a step on the firewall it is as planned, or, after any failure, unknown.
void Reconciler::remember_firewall(const Pass& pass, const model::DesiredState& desired) {
  const bool touched = std::any_of(pass.steps.begin(), pass.steps.end(), [](const model::Step& step) {
    return std::holds_alternative<model::InstallFirewall>(step) ||
           std::holds_alternative<model::RemoveFirewall>(step);
  });
  if (!touched) return;
  observer_.set_firewall(pass.errors.empty() ? std::optional(desired.firewall) : std::nullopt);
}

Result<> remove_everything(Reconciler& reconciler) {
  constexpr int kPasses = 5;
  reconciler.set_config(std::nullopt);
  Result<> outcome;
  for (int i = 0; i < kPasses; ++i) {
    auto pass = reconciler.reconcile(Depth::kAll);
    if (!pass) return tl::make_unexpected(pass.error());
    if (pass->steps.empty()) return {};
    outcome = !pass->errors.empty() ? tl::make_unexpected(pass->errors.front())
                                    : failure(fmt::format("still there after it was removed: {}",
                                                          fmt::join(plan::print(pass->steps), "; ")));
  }
  return outcome;
}

}  // namespace bondd::control
