#include "bondd/plan/tunnels.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "bondd/model/ownership.h"

namespace bondd::plan {
namespace {

using model::Wan;

// What the files say of the lines, or nothing unless they say it of every line.
std::optional<std::vector<double>> shares(const std::vector<Wan>& wans) {
  const auto all = [&](auto&& value_of) -> std::optional<std::vector<double>> {
    std::vector<double> out;
    for (const Wan& wan : wans) {
      const std::optional<double> value = value_of(wan);
      if (!value) return std::nullopt;
      out.push_back(*value);
    }
    return out;
  };
  const auto rate = [](const std::optional<Rate>& r) {
    return r ? std::optional(static_cast<double>(r->bits_per_second)) : std::nullopt;
  };
  if (auto out = all([](const Wan& wan) { return wan.weight; })) return out;
  if (auto out = all([&](const Wan& wan) { return rate(wan.download); })) return out;
  return all([&](const Wan& wan) { return rate(wan.upload); });
}

// The part of the lines' sum that turns with `counts` can use: a turn lasts as long
// as the line needs that is the slowest for its part.
double efficiency(const std::vector<double>& share, const std::vector<unsigned>& counts) {
  double slowest = std::numeric_limits<double>::max();
  for (std::size_t i = 0; i < share.size(); ++i) slowest = std::min(slowest, share[i] / counts[i]);
  const double sum = std::accumulate(share.begin(), share.end(), 0.0);
  return slowest * std::accumulate(counts.begin(), counts.end(), 0U) / sum;
}

// Counts that sum up to `total`, at least one each, as near to the shares as whole numbers go:
// each further instance goes where a turn is shortest per instance.
std::vector<unsigned> apportion(const std::vector<double>& share, unsigned total) {
  std::vector<unsigned> counts(share.size(), 1);
  for (auto left = total - static_cast<unsigned>(share.size()); left > 0; --left) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < share.size(); ++i) {
      if (share[i] / (counts[i] + 1) > share[best] / (counts[best] + 1)) best = i;
    }
    ++counts[best];
  }
  return counts;
}

constexpr double kGoodEnough = 0.97;  // of the best found: fewer processes are worth 3 %

// Of instance k > 0 of WAN i: how far behind the highest port its own is.
unsigned offset(const std::vector<Wan>& wans, std::size_t i, unsigned k) {
  const auto before = std::ranges::count_if(wans, [&](const Wan& wan) { return wan.port < wans[i].port; });
  return 1 + (k - 1) * static_cast<unsigned>(wans.size()) + static_cast<unsigned>(before);
}

}  // namespace

unsigned ports_after_highest(const std::vector<Wan>& wans, const std::vector<unsigned>& counts) {
  unsigned most = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 1) most = std::max(most, offset(wans, i, counts[i] - 1));
  }
  return most;
}

std::vector<unsigned> instance_counts(const std::vector<Wan>& wans) {
  const std::optional<std::vector<double>> share = shares(wans);
  const auto lines = static_cast<unsigned>(wans.size());
  if (!share) return std::vector<unsigned>(lines, 1);
  std::vector<std::vector<unsigned>> candidates;
  double best = 0;
  for (unsigned total = lines; total <= std::max(kMaxTunnels, lines); ++total) {
    candidates.push_back(apportion(*share, total));
    best = std::max(best, efficiency(*share, candidates.back()));
  }
  return *std::find_if(candidates.begin(), candidates.end(), [&](const std::vector<unsigned>& counts) {
    return efficiency(*share, counts) >= best * kGoodEnough;
  });
}

std::vector<Tunnel> tunnels(const model::Config& config) {
  const std::vector<unsigned> counts = config.backend == model::Backend::kOpenVpnBond
                                           ? instance_counts(config.wans)
                                           : std::vector<unsigned>(config.wans.size(), 1);
  std::uint16_t highest = 0;
  for (const Wan& wan : config.wans) highest = std::max(highest, wan.port);
  std::vector<std::vector<Tunnel>> by_wan(config.wans.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const Wan& wan = config.wans[i];
    for (unsigned k = 0; k < counts[i]; ++k) {
      const auto extra = static_cast<std::uint16_t>(highest + offset(config.wans, i, k));
      by_wan[i].push_back(Tunnel{static_cast<unsigned>(i + 1), k, k == 0 ? wan.port : extra,
                                 wan.name + model::instance_suffix(k)});
    }
  }
  // Smooth weighted round robin: 5 and 2 give 1 1 2 1 1 2 1, so that bursts on one line stay short.
  const auto total = static_cast<int>(std::accumulate(counts.begin(), counts.end(), 0U));
  std::vector<int> credit(counts.size(), 0);
  std::vector<Tunnel> out;
  while (static_cast<int>(out.size()) < total) {
    for (std::size_t i = 0; i < counts.size(); ++i) credit[i] += static_cast<int>(counts[i]);
    const auto chosen =
        static_cast<std::size_t>(std::max_element(credit.begin(), credit.end()) - credit.begin());
    credit[chosen] -= total;
    const auto taken = static_cast<std::size_t>(
        std::count_if(out.begin(), out.end(), [&](const Tunnel& t) { return t.wan == chosen + 1; }));
    out.push_back(by_wan[chosen][taken]);
  }
  return out;
}

}  // namespace bondd::plan
