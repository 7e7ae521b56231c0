#include "bondd/doctor/site.h"

#include <fmt/format.h>

#include <algorithm>

namespace bondd::doctor {
namespace {

std::string figures(const model::WanStatus& wan) {
  std::string out = "carries";
  if (!wan.gateway.empty()) out += fmt::format(" by {} on {}", wan.gateway, wan.device);
  if (wan.rtt_ms) out += fmt::format(", round trip {:.0f} ms", *wan.rtt_ms);
  if (wan.capacity_mbit) out += fmt::format(", carries up to {:.1f} Mbit/s from here", *wan.capacity_mbit);
  return out;
}

}  // namespace

std::vector<Finding> site_findings(const model::SiteStatus& status) {
  std::vector<Finding> out;
  for (const model::WanStatus& wan : status.wans) {
    const bool named =
        std::ranges::find(status.problems, wan.name, &model::Problem::wan) != status.problems.end();
    if (wan.state == model::WanState::kUp) {
      out.push_back({"wan-up", Level::kOk, wan.name, figures(wan), ""});
    } else if (wan.state == model::WanState::kDrained) {
      out.push_back({"wan-drained", Level::kNote, wan.name, wan.reason, ""});
    } else if (!named) {
      const bool heard = model::is_heard(wan.state);
      out.push_back({heard ? "wan-poor" : "wan-down", heard ? Level::kWarning : Level::kError, wan.name,
                     fmt::format("{}{}{}", to_string(wan.state), wan.reason.empty() ? "" : ": ", wan.reason),
                     ""});
    }
  }
  for (const model::Problem& problem : status.problems)
    out.push_back({problem.code, level_of(problem.severity), problem.wan, problem.text, problem.remedy});
  for (const std::string& warning : status.warnings) {
    const bool said = std::ranges::any_of(
        status.problems, [&](const model::Problem& problem) { return problem.text == warning; });
    if (!said) out.push_back({"warning", Level::kWarning, "", warning, ""});
  }
  return out;
}

std::vector<Finding> of_wan(std::vector<Finding> findings, const std::string& wan) {
  std::erase_if(findings, [&](const Finding& one) { return one.wan != wan; });
  return findings;
}

}  // namespace bondd::doctor
