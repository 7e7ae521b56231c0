#include "bondd/main/status_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "bondd/base/text.h"

namespace bondd {
namespace {

using model::SiteState;
using model::SiteStatus;
using model::WanState;
using model::WanStatus;

constexpr std::size_t kNameWidth = 10;  // longer names are cut; all fits 79 columns

std::string painted(const std::string& text, const char* code, const ViewOptions& options) {
  return options.colour ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
}

const char* colour_of(SiteState state) {
  switch (state) {
    case SiteState::kUp:
      return "32";
    case SiteState::kDegraded:
      return "33";
    case SiteState::kDown:
      return "31";
  }
  return "0";
}

const char* colour_of(WanState state) {
  switch (state) {
    case WanState::kUp:
      return "32";
    case WanState::kDown:
    case WanState::kSilent:
      return "31";
    case WanState::kWaiting:
    case WanState::kStarting:
    case WanState::kLossy:
    case WanState::kSlow:
    case WanState::kDrained:
      return "33";
  }
  return "0";
}

// The names as the table has them: cut where they are too long, and still each another's.
std::vector<std::string> short_names(const std::vector<WanStatus>& wans) {
  constexpr std::size_t kEnd = 4;  // letters of the end, where the beginning is another's too
  std::vector<std::string> names;
  for (const WanStatus& wan : wans) {
    const auto is_taken = [&](const std::string& name) {
      return std::ranges::find(names, name) != names.end();
    };
    std::string name = wan.name;
    if (name.size() > kNameWidth) name = wan.name.substr(0, kNameWidth - 1) + "~";
    const bool alike =
        name != wan.name && std::ranges::count_if(wans, [&](const WanStatus& other) {
                              return other.name.starts_with(wan.name.substr(0, kNameWidth - 1));
                            }) > 1;
    if (alike) {
      name = wan.name.substr(0, kNameWidth - kEnd - 1) + "~" + wan.name.substr(wan.name.size() - kEnd);
    }
    if (is_taken(name)) {
      const std::string number = fmt::format("~{}", names.size() + 1);
      name = wan.name.substr(0, kNameWidth - number.size()) + number;
    }
    names.push_back(name);
  }
  return names;
}

// Three digits are enough: "0.3", "12.5", "940".
std::string mbit_text(const std::optional<double>& value) {
  if (!value) return "?";
  return *value < 99.95 ? fmt::format("{:.1f}", *value) : fmt::format("{:.0f}", *value);
}

std::string flow_text(const std::optional<double>& now, const std::optional<double>& capacity) {
  return fmt::format("{:>4} of {:>4}", now ? mbit_text(now) : "-", mbit_text(capacity));
}

// What was measured before a WAN went silent tells nothing of now.
std::string latency_text(const WanStatus& wan) {
  return wan.rtt_ms && model::is_heard(wan.state) ? fmt::format("{:.0f} ms", *wan.rtt_ms) : "-";
}

std::string loss_text(const WanStatus& wan) {
  if (!wan.loss_percent || !model::is_heard(wan.state)) return "-";
  return short_number(*wan.loss_percent) + " %";
}

// How long it has been in its state: three characters.
std::string for_text(const WanStatus& wan, std::int64_t now) {
  return wan.since == 0 ? "-" : brief_ago_text(now - wan.since);
}

std::string row(const std::string& name, const std::string& state, const std::string& since,
                const std::string& gateway, const std::string& latency, const std::string& loss,
                const std::string& in, const std::string& out) {
  return fmt::format("{:<{}} {} {:>3} {:<15} {:>7} {:>5} {:>12} {:>12}", name, kNameWidth, state, since,
                     gateway, latency, loss, in, out);
}

std::optional<double> sum(const std::vector<WanStatus>& wans, std::optional<double> WanStatus::*figure) {
  double all = 0;
  for (const WanStatus& wan : wans) {
    if (!model::is_heard(wan.state) || wan.state == WanState::kDrained) continue;
    if (!(wan.*figure)) return std::nullopt;
    all += *(wan.*figure);
  }
  return all;
}

// As much on a line as fits; the backend and the server wrap between their words.
std::string head(const SiteStatus& site, const ViewOptions& options) {
  const auto up = std::ranges::count(site.wans, WanState::kUp, &WanStatus::state);
  const std::string state(to_string(site.state));
  std::string out = fmt::format("{}: {}", site.name, painted(state, colour_of(site.state), options));
  std::size_t used = site.name.size() + 2 + state.size();
  const auto add = [&](std::string_view between, const std::string& part) {
    const bool fits = used + between.size() + part.size() <= kColumns;
    const std::string line = fits ? std::string() : wrapped("    ", part);
    out += fits ? std::string(between) + part : "\n" + line.substr(0, line.size() - 1);
    used = fits ? used + between.size() + part.size()
                : line.size() - 1 - (line.rfind('\n', line.size() - 2) + 1);
  };
  if (!site.wans.empty()) add(", ", fmt::format("{} of {} WANs up", up, site.wans.size()));
  if (site.since != 0) add(", ", fmt::format("since {}", ago_text(options.now - site.since)));
  std::string kind = site.backend;
  if (!site.server.empty() && site.role == "client") kind += ", server " + site.server;
  if (site.role == "server") kind += ", this is the server";
  if (!kind.empty()) add(" ", "(" + kind + ")");
  return out + "\n";
}

std::string table(const SiteStatus& site, const ViewOptions& options) {
  const bool office = site.role == "client";
  std::string out = row("WAN", fmt::format("{:<8}", "STATE"), "FOR", office ? "GATEWAY" : "", "LATENCY",
                        "LOSS", office ? "DOWN Mbit/s" : "IN Mbit/s", office ? "UP Mbit/s" : "OUT Mbit/s") +
                    "\n";
  const std::vector<std::string> names = short_names(site.wans);
  for (std::size_t i = 0; i < site.wans.size(); ++i) {
    const WanStatus& wan = site.wans[i];
    const std::string state =
        painted(fmt::format("{:<8}", to_string(wan.state)), colour_of(wan.state), options);
    const std::string gateway = wan.gateway.empty() ? wan.device.substr(0, 15) : wan.gateway;
    out += row(names[i], state, for_text(wan, options.now), gateway, latency_text(wan), loss_text(wan),
               flow_text(wan.rx_mbit, wan.rx_capacity_mbit), flow_text(wan.tx_mbit, wan.capacity_mbit)) +
           "\n";
  }
  if (site.wans.size() > 1 && site.state != SiteState::kDown) {
    out += row("all", fmt::format("{:8}", ""), "", "", "", "",
               flow_text(sum(site.wans, &WanStatus::rx_mbit), sum(site.wans, &WanStatus::rx_capacity_mbit)),
               flow_text(sum(site.wans, &WanStatus::tx_mbit), sum(site.wans, &WanStatus::capacity_mbit))) +
           "\n";
  }
  return out;
}

// "lte has 2.3 % packet loss", "lte: rule 100 …": the WAN need not stand before it once more.
bool names_its_subject(const std::string& text, const SiteStatus& site) {
  return std::ranges::any_of(site.wans, [&](const WanStatus& wan) {
    return text.starts_with(wan.name + " ") || text.starts_with(wan.name + ": ");
  });
}

// What keeps others from reading and changing the traffic.
std::string protection(const SiteStatus& site) {
  std::optional<double> oldest;
  std::string by_password, out;
  for (const WanStatus& wan : site.wans) {
    if (wan.protection == model::Protection::kPassword)
      by_password += (by_password.empty() ? "" : ", ") + wan.name;
    if (wan.key_age_s) oldest = std::max(oldest.value_or(0), *wan.key_age_s);
  }
  if (oldest)
    out +=
        wrapped("keys: ", fmt::format("new for each session and WAN, the oldest is {:.0f} s old", *oldest));
  if (!by_password.empty())
    out += wrapped("keys of " + by_password + ": ",
                   "made of the password, always the same; the other end is the original program or an older "
                   "bondd");
  return out;
}

std::string troubles(const SiteStatus& site, const ViewOptions& options) {
  std::string out;
  for (const model::Problem& problem : site.problems) {
    const std::string about = problem.wan.empty() ? site.name : problem.wan;
    const std::string since =
        problem.since != 0 ? fmt::format(" (for {})", ago_text(options.now - problem.since)) : "";
    const bool named = names_its_subject(problem.text, site);
    out += wrapped(named ? "" : about + ": ", problem.text + since);
    if (!problem.remedy.empty()) out += wrapped("    ", problem.remedy);
  }
  // What is the same of all is of the site.
  const bool alike =
      site.problems.empty() && site.wans.size() > 1 &&
      std::ranges::count(site.wans, site.wans.front().reason, &WanStatus::reason) == std::ssize(site.wans);
  if (alike && !site.wans.front().reason.empty()) out += wrapped(site.name + ": ", site.wans.front().reason);
  for (const WanStatus& wan : site.wans) {
    if (alike) break;
    // Of the WAN, or of the whole site in the same words (a name that does not resolve).
    const bool named = std::ranges::any_of(site.problems, [&](const model::Problem& problem) {
      return problem.wan == wan.name || problem.text == wan.reason;
    });
    if (!named && !wan.reason.empty()) out += wrapped(wan.name + ": ", wan.reason);
  }
  for (const std::string& warning : site.warnings) {
    const bool said = std::ranges::find(site.problems, warning, &model::Problem::text) != site.problems.end();
    if (!said) out += wrapped("note: ", warning);
  }
  return out;
}

}  // namespace

std::string ago_text(std::int64_t seconds) {
  seconds = std::max<std::int64_t>(seconds, 0);
  if (seconds < 60) return fmt::format("{} s", seconds);
  const std::int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  if (hours == 0) return fmt::format("{} min", minutes);
  if (days == 0) return fmt::format("{} h {} min", hours, minutes % 60);
  return fmt::format("{} {} {} h", days, days == 1 ? "day" : "days", hours % 24);
}

std::string brief_ago_text(std::int64_t seconds) {
  struct Unit {
    std::int64_t seconds;
    char letter;
  };
  constexpr std::int64_t kDay = 86'400;
  constexpr std::array<Unit, 5> kUnits = {{{1, 's'}, {60, 'm'}, {3600, 'h'}, {kDay, 'd'}, {365 * kDay, 'y'}}};
  seconds = std::max<std::int64_t>(seconds, 0);
  for (const Unit& unit : kUnits) {
    const std::int64_t count = seconds / unit.seconds;
    if (count < 100) return fmt::format("{}{}", count, unit.letter);
  }
  return "-";
}

std::string wrapped(std::string_view first, std::string_view text) {
  const std::string indent(std::min<std::size_t>(first.size(), 8), ' ');
  std::string out(first), line;
  std::size_t used = first.size();
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t between = line.empty() ? 0 : 1;
    const bool first_moves = !line.empty() || (used == first.size() && first.size() > indent.size());
    if (first_moves && used + line.size() + between + word.size() > kColumns) {
      out += line;
      out.erase(out.find_last_not_of(' ') + 1);
      out += "\n" + indent;
      used = indent.size();
      line.clear();
    }
    line += (line.empty() ? "" : " ") + std::string(word);
  }
  return out + line + "\n";
}

std::string status_view(const SiteStatus& site, const ViewOptions& options) {
  std::string out = head(site, options);
  if (!site.wans.empty()) out += table(site, options) + protection(site);
  return out + troubles(site, options);
}

}  // namespace bondd
