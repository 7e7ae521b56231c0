#include "bondd/control/line_advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "bondd/control/delay_match.h"

namespace bondd::control {
namespace {

using problems::Code;
using problems::Remark;

// One loss among the last hundred probes is chance as often as not.
constexpr double kLossyPercent = 1.5;

std::vector<const model::WanStatus*> carrying(const model::SiteStatus& site) {
  std::vector<const model::WanStatus*> wans;
  for (const model::WanStatus& wan : site.wans) {
    if (wan.state == model::WanState::kUp) wans.push_back(&wan);
  }
  return wans;
}

// What openvpn-bond cannot make up for.
std::vector<Remark> unlike_lines(const model::SiteStatus& site) {
  const auto wans = carrying(site);
  if (site.backend != "openvpn-bond" || wans.size() < 2) return {};

  std::vector<Remark> advice;
  const model::WanStatus *nearest = nullptr, *farthest = nullptr;
  for (const model::WanStatus* const wan : wans) {
    if (wan->loss_percent.value_or(0) >= kLossyPercent) {
      advice.push_back(
          {Code::kLineLossy, wan->name,
           fmt::format("{} has {:.1f} % packet loss: every connection through this bond slows down to what "
                       "such a line allows; backend = \"mlvpn\" repairs losses",
                       wan->name, *wan->loss_percent)});
    }
    if (!wan->rtt_ms) continue;
    if (nearest == nullptr || *wan->rtt_ms < *nearest->rtt_ms) nearest = wan;
    if (farthest == nullptr || *wan->rtt_ms > *farthest->rtt_ms) farthest = wan;
  }
  if (nearest == nullptr) return advice;
  const double apart_ms = (*farthest->rtt_ms - *nearest->rtt_ms) / 2;
  if (apart_ms > to_ms(DelayMatch::kMost)) {
    advice.push_back(
        {Code::kLineLate, farthest->name,
         fmt::format(
             "{} brings packets {:.0f} ms later than {}, too late to be put in order here: one "
             "connection may be slower than over {} alone; backend = \"mlvpn\" is made for such lines",
             farthest->name, apart_ms, nearest->name, nearest->name)});
  }
  return advice;
}

// The bond's MTU follows (plan::bond_mtu), down to what QUIC needs; else long packets go by the other lines.
std::vector<Remark> narrow_lines(const model::SiteStatus& site) {
  std::vector<Remark> advice;
  for (const model::WanStatus& wan : site.wans) {
    if (!model::is_heard(wan.state) || !wan.path_mtu) continue;
    advice.push_back(
        {Code::kLineNarrow, wan.name,
         fmt::format(
             "{0} drops packets of more than {1} bytes that this end sends: the bond's packets were made "
             "short "
             "enough, or long ones go by the other lines; to begin with that, write mtu = {1} in this "
             "[[wan]] on both ends and reload both",
             wan.name, *wan.path_mtu)});
  }
  return advice;
}

}  // namespace

std::vector<Remark> line_advice(const model::SiteStatus& site) {
  std::vector<Remark> advice = narrow_lines(site);
  std::ranges::move(unlike_lines(site), std::back_inserter(advice));
  return advice;
}

}  // namespace bondd::control
