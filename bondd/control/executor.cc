#include "bondd/control/executor.h"

#include "bondd/plan/plan.h"

namespace bondd::control {

std::vector<Error> Executor::execute(const std::vector<model::Step>& steps) {
  std::vector<Error> errors = save_settings(steps);
  if (!errors.empty()) return errors;  // what cannot be put back must not be changed
  for (const model::Step& step : steps) {
    if (auto done = execute(step); !done) errors.push_back(std::move(done.error()));
  }
  return errors;
}

Result<> Executor::execute(const model::Step& step) {
  auto done = std::visit([this](const auto& one) { return run(one); }, step);
  if (done) return done;
  const std::vector<std::string> lines = plan::print({step});
  return tl::make_unexpected(done.error().in(lines.empty() ? "a step of the plan" : lines.front()));
}

// All old values are on disk before the kernel has the first new one: a change of forwarding changes
// other settings along, and a crash may come at any time.
std::vector<Error> Executor::save_settings(const std::vector<model::Step>& steps) {
  std::vector<Error> errors;
  for (const model::Step& step : steps) {
    const auto* set = std::get_if<model::SetSysctl>(&step);
    if (set == nullptr) continue;
    if (auto saved = machine_.run_dir->save_sysctl(set->sysctl.key, set->saved); !saved)
      errors.push_back(saved.error());
  }
  return errors;
}

Result<> Executor::run(const model::SetSysctl& step) {
  return machine_.sysctls->write(step.sysctl.key, step.sysctl.value);
}

Result<> Executor::run(const model::RestoreSysctl& step) {
  auto written = machine_.sysctls->write(step.sysctl.key, step.sysctl.value);
  // A setting that left with its device needs nothing put back.
  if (!written && written.error().code != ENOENT) return written;
  machine_.run_dir->forget_sysctl(step.sysctl.key);
  return {};
}

}  // namespace bondd::control
