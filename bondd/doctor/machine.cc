#include "bondd/doctor/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace bondd::doctor {
namespace {

constexpr std::int64_t kDay = 24 * 3600;  // seconds: time zones set as the clock are no fault of a year

Finding clock_finding(const MachineFacts& facts) {
  const std::string now = model::time_text(facts.now);
  if (facts.now < facts.installed - kDay) {
    return {"clock-wrong", Level::kError, "",
            fmt::format("this machine's clock says {}, which is before this program was made ({})", now,
                        model::time_text(facts.installed)),
            "set it: `timedatectl set-ntp true`, or `date -s`; certificates and keys are refused with a "
            "wrong date"};
  }
  if (facts.synchronised == false) {
    return {"clock-free", Level::kNote, "",
            fmt::format("this machine's clock says {}, and nothing keeps it right", now),
            "compare it with a watch; `timedatectl set-ntp true`, or install chrony"};
  }
  return {"clock", Level::kOk, "", fmt::format("clock: {}", now), ""};
}

Finding forwarding_finding(const MachineFacts& facts, bool runs) {
  if (facts.forwarding == true) return {"forwarding", Level::kOk, "", "this machine forwards packets", ""};
  if (!runs) {
    return {"forwarding-off", Level::kNote, "",
            "this machine forwards no packets now; `bondd up` switches that on", ""};
  }
  return {"forwarding-off", Level::kError, "", "this machine forwards no packets though the site is up",
          "something switched it off; bondd switches it on again within 10 s: "
          "`sysctl net.ipv4.ip_forward`, and look for what sets it in /etc/sysctl.d"};
}

void add_programs(const MachineFacts& facts, const model::Config* config, std::vector<Finding>& out) {
  if (facts.iptables.empty()) {
    out.push_back({"iptables-missing", Level::kError, "", "iptables does not run", "apt install iptables"});
  } else {
    out.push_back({"iptables", Level::kOk, "", facts.iptables, ""});
  }
  const bool wanted = config != nullptr && config->backend == model::Backend::kOpenVpnBond;
  if (wanted && !facts.openvpn.empty())
    out.push_back({"openvpn", Level::kOk, "", fmt::format("OpenVPN {}", facts.openvpn), ""});
}

}  // namespace

std::vector<Finding> machine_findings(const MachineFacts& facts, const model::Config* config, bool runs) {
  std::vector<Finding> out{{"kernel", Level::kOk, "", fmt::format("kernel {}", facts.kernel), ""}};
  add_programs(facts, config, out);
  for (const std::string& text : facts.missing) out.push_back({"machine", Level::kError, "", text, ""});
  out.push_back(clock_finding(facts));
  out.push_back(forwarding_finding(facts, runs));
  if (!facts.strict.empty()) {
    const std::string devices = fmt::format("{}", fmt::join(facts.strict, ", "));
    out.push_back({"rp-filter-strict", runs ? Level::kWarning : Level::kNote, "",
                   fmt::format("reverse path filtering is strict (rp_filter 1) on {}{}", devices,
                               runs ? " though the site is up: packets of the WANs there are dropped"
                                    : "; `bondd up` makes it loose there, and `bondd down` puts it back"),
                   runs ? fmt::format("something sets it: look in /etc/sysctl.d; for now: `sysctl -w "
                                      "net.ipv4.conf.{}.rp_filter=2`",
                                      facts.strict.front())
                        : ""});
  }
  return out;
}

}  // namespace bondd::doctor
