#include "bondd/control/wan_traffic.h"

#include <algorithm>

namespace bondd::control {
namespace {

constexpr auto kShortest = std::chrono::milliseconds(500);  // a rate over less is noise

double mbit(std::uint64_t bytes, Duration time) {
  return static_cast<double>(bytes) * 8 / 1e6 / std::chrono::duration<double>(time).count();
}

std::optional<double> share(const std::optional<double>& part, double all) {
  return part && all >= kIdleMbit ? std::optional(100 * *part / all) : std::nullopt;
}

}  // namespace

void WanTraffic::count(Wan& wan, const Bytes& counter) {
  const auto step = [](std::uint64_t before, std::uint64_t now) {
    return now >= before ? now - before : now;
  };
  const Bytes more{step(wan.counter.rx, counter.rx), step(wan.counter.tx, counter.tx)};
  wan.counter = counter;
  wan.flowed = {wan.flowed.rx + more.rx, wan.flowed.tx + more.tx};
  wan.today = {wan.today.rx + more.rx, wan.today.tx + more.tx};
}

void WanTraffic::add(TimePoint now, std::int64_t day, const std::vector<model::WanStatus>& wans) {
  std::erase_if(wans_, [&](const auto& known) {
    return std::ranges::find(wans, known.first, &model::WanStatus::name) == wans.end();
  });
  if (day != std::exchange(day_, day)) {
    for (auto& [name, wan] : wans_) wan.today = {};
  }
  for (const model::WanStatus& status : wans) {
    if (!status.rx_bytes || !status.tx_bytes) continue;
    const auto [found, first] = wans_.try_emplace(status.name);
    Wan& wan = found->second;
    const Bytes counter{*status.rx_bytes, *status.tx_bytes};
    if (first) wan.counter = counter;
    count(wan, counter);
    wan.samples.push_back({now, wan.flowed});
    // The oldest one that is kept is the last of before the window.
    while (wan.samples.size() > 2 && wan.samples[1].when <= now - kTrafficWindow) wan.samples.pop_front();
  }
}

void WanTraffic::fill(TimePoint now, std::vector<model::WanStatus>& wans) const {
  double rx_all = 0, tx_all = 0;
  for (model::WanStatus& status : wans) {
    const auto found = wans_.find(status.name);
    if (found == wans_.end()) continue;
    const Wan& wan = found->second;
    status.today_rx_bytes = wan.today.rx;
    status.today_tx_bytes = wan.today.tx;
    const Sample& from = wan.samples.front();
    if (now - from.when < kShortest) continue;
    status.rx_mbit = mbit(wan.flowed.rx - from.flowed.rx, now - from.when);
    status.tx_mbit = mbit(wan.flowed.tx - from.flowed.tx, now - from.when);
    rx_all += *status.rx_mbit;
    tx_all += *status.tx_mbit;
  }
  for (model::WanStatus& status : wans) {
    status.share_percent = share(status.tx_mbit, tx_all);
    status.rx_share_percent = share(status.rx_mbit, rx_all);
  }
}

}  // namespace bondd::control
