#include "bondd/main/metrics_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace bondd {
namespace {

using model::SiteState;
using model::SiteStatus;
using model::WanState;
using model::WanStatus;

constexpr double kBitsPerMbit = 1e6;
constexpr double kMsPerSecond = 1e3;
constexpr double kPercent = 100;

// Backslashes, quotes and newlines, as the format wants them.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

std::string label(std::string_view name, std::string_view value) {
  return fmt::format("{}=\"{}\"", name, escaped(value));
}

std::string labels_of(const SiteStatus& site) {
  return label("site", site.name);
}

std::string labels_of(const SiteStatus& site, const WanStatus& wan) {
  return labels_of(site) + "," + label("wan", wan.name);
}

class Text {
 public:
  // The samples that follow are of this metric. `type`: "gauge" or "counter".
  void begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    out_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  void sample(const std::string& labels, double value) {
    out_ += fmt::format("{}{{{}}} {}\n", name_, labels, value);
  }
  void sample(const std::string& labels, std::uint64_t value) {
    out_ += fmt::format("{}{{{}}} {}\n", name_, labels, value);
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  std::string out_, name_;
};

// A figure of each WAN, in Prometheus's base units: seconds, bits per second, ratios.
struct Gauge {
  std::string_view name, help;
  std::optional<double> WanStatus::*figure;
  double divide, multiply;
};

constexpr std::array<Gauge, 10> kGauges = {{
    {"bondd_wan_rtt_seconds", "Latency to the other end and back.", &WanStatus::rtt_ms, kMsPerSecond, 1},
    {"bondd_wan_receive_loss_ratio", "Packets of the other end that were lost lately, 0 to 1.",
     &WanStatus::loss_percent, kPercent, 1},
    {"bondd_wan_transmit_loss_ratio", "Packets of this end that were lost lately, 0 to 1.",
     &WanStatus::tx_loss_percent, kPercent, 1},
    {"bondd_wan_heard_seconds_ago", "Since the last packet of the other end.", &WanStatus::heard_ms_ago,
     kMsPerSecond, 1},
    {"bondd_wan_queue_seconds", "What waits in front of the line.", &WanStatus::queue_ms, kMsPerSecond, 1},
    {"bondd_wan_transmit_capacity_bits_per_second", "What the line can carry out.", &WanStatus::capacity_mbit,
     1, kBitsPerMbit},
    {"bondd_wan_receive_capacity_bits_per_second", "What the line can carry in.",
     &WanStatus::rx_capacity_mbit, 1, kBitsPerMbit},
    {"bondd_wan_transmit_bits_per_second", "Sent in the last 10 s.", &WanStatus::tx_mbit, 1, kBitsPerMbit},
    {"bondd_wan_receive_bits_per_second", "Received in the last 10 s.", &WanStatus::rx_mbit, 1, kBitsPerMbit},
    {"bondd_wan_transmit_share_ratio", "Of what all WANs sent in the last 10 s, 0 to 1.",
     &WanStatus::share_percent, kPercent, 1},
}};

struct Counter {
  std::string_view name, help;
  std::optional<std::uint64_t> WanStatus::*figure;
};

constexpr std::array<Counter, 3> kCounters = {{
    {"bondd_wan_receive_bytes_total", "Received since the WAN came up.", &WanStatus::rx_bytes},
    {"bondd_wan_transmit_bytes_total", "Sent since the WAN came up.", &WanStatus::tx_bytes},
    {"bondd_wan_repaired_packets_total", "Packets that were lost and sent again.", &WanStatus::repaired},
}};

void add_sites(const std::vector<SiteStatus>& sites, Text& text) {
  text.begin("bondd_site_up", "gauge", "1 while the bond carries traffic.");
  for (const SiteStatus& site : sites)
    text.sample(labels_of(site), site.state == SiteState::kDown ? 0.0 : 1.0);
  text.begin("bondd_site_degraded", "gauge", "1 while only some WANs carry traffic.");
  for (const SiteStatus& site : sites)
    text.sample(labels_of(site), site.state == SiteState::kDegraded ? 1.0 : 0.0);
  text.begin("bondd_site_state_since_timestamp_seconds", "gauge", "When the site came into its state.");
  for (const SiteStatus& site : sites) {
    if (site.since != 0) text.sample(labels_of(site), static_cast<std::uint64_t>(site.since));
  }
  text.begin("bondd_site_info", "gauge", "Always 1; what the site is.");
  for (const SiteStatus& site : sites) {
    text.sample(fmt::format("{},{},{},{}", labels_of(site), label("role", site.role),
                            label("backend", site.backend), label("version", site.version)),
                1.0);
  }
  text.begin("bondd_problem", "gauge", "1 for each problem that there is now; see `bondd status`.");
  for (const SiteStatus& site : sites) {
    // Two of one kind and WAN differ in their texts only, which are no labels.
    std::vector<std::string> seen;
    for (const model::Problem& problem : site.problems) {
      std::string labels =
          fmt::format("{},{},{},{}", labels_of(site), label("wan", problem.wan), label("code", problem.code),
                      label("severity", to_string(problem.severity)));
      if (std::ranges::find(seen, labels) != seen.end()) continue;
      text.sample(labels, 1.0);
      seen.push_back(std::move(labels));
    }
  }
}

template <typename Add>
void for_each_wan(const std::vector<SiteStatus>& sites, Add add) {
  for (const SiteStatus& site : sites) {
    for (const WanStatus& wan : site.wans) add(labels_of(site, wan), wan);
  }
}

void add_wans(const std::vector<SiteStatus>& sites, Text& text) {
  text.begin("bondd_wan_up", "gauge", "1 while the WAN carries traffic.");
  for_each_wan(sites, [&](const std::string& labels, const WanStatus& wan) {
    text.sample(labels, wan.state == WanState::kUp ? 1.0 : 0.0);
  });
  text.begin("bondd_wan_state", "gauge", "1 for the state in which the WAN is.");
  for_each_wan(sites, [&](const std::string& labels, const WanStatus& wan) {
    for (int i = 0; i < model::kWanStates; ++i) {
      const auto state = static_cast<WanState>(i);
      text.sample(labels + "," + label("state", to_string(state)), wan.state == state ? 1.0 : 0.0);
    }
  });
  text.begin("bondd_wan_state_since_timestamp_seconds", "gauge", "When the WAN came into its state.");
  for_each_wan(sites, [&](const std::string& labels, const WanStatus& wan) {
    if (wan.since != 0) text.sample(labels, static_cast<std::uint64_t>(wan.since));
  });
  for (const Gauge& gauge : kGauges) {
    text.begin(gauge.name, "gauge", gauge.help);
    for_each_wan(sites, [&](const std::string& labels, const WanStatus& wan) {
      if (wan.*gauge.figure) text.sample(labels, *(wan.*gauge.figure) / gauge.divide * gauge.multiply);
    });
  }
  for (const Counter& counter : kCounters) {
    text.begin(counter.name, "counter", counter.help);
    for_each_wan(sites, [&](const std::string& labels, const WanStatus& wan) {
      if (wan.*counter.figure) text.sample(labels, *(wan.*counter.figure));
    });
  }
}

}  // namespace

std::string metrics_view(const std::vector<SiteStatus>& sites) {
  if (sites.empty()) return {};
  Text text;
  add_sites(sites, text);
  add_wans(sites, text);
  return text.take();
}

}  // namespace bondd
