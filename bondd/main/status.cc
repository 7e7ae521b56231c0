// `bondd status` and `bondd reload`: questions to the running bondd.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <thread>

#include "bondd/control/run_dir.h"
#include "bondd/ipc/control_client.h"
#include "bondd/main/commands.h"
#include "bondd/main/site_file.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;
using model::SiteStatus;
using model::WanStatus;

constexpr auto kAskLimit = 5s;
constexpr auto kReloadLimit = 30s;
constexpr auto kWatchEvery = 1s;

// A site that does not run: what its file says, all down. The file need not be right.
SiteStatus down_site(const std::string& site, const std::optional<std::filesystem::path>& file,
                     bool left_behind) {
  SiteStatus status;
  status.name = site;
  status.state = "down";
  if (file) {
    if (auto config = reload_site_file(*file)) {
      status.role = config->role == model::Role::kClient ? "client" : "server";
      status.backend = config->backend == model::Backend::kOpenVpnBond ? "openvpn-bond" : "mlvpn";
      status.bond_interface = config->bond.interface;
      for (const model::Wan& wan : config->wans) {
        WanStatus one;
        one.name = wan.name;
        one.state = "down";
        one.reason = "the site is not up";
        status.wans.push_back(one);
      }
    }
  }
  if (left_behind) {
    status.warnings.push_back(
        fmt::format("a killed bondd left things behind; `bondd down {}` removes them", site));
  }
  return status;
}

Result<SiteStatus> ask_site(const control::RunDirView& view,
                            const std::optional<std::filesystem::path>& file) {
  auto reply = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  if (reply) return ipc::parse_status(reply->status);
  if (reply.error().code == EACCES) {
    return failure(fmt::format("only root may ask for the status of {}; try sudo", view.site()), EACCES);
  }
  const auto pid = view.running();
  if (pid)
    return failure(
        fmt::format("{} is coming up or going down (pid {}): {}", view.site(), *pid, reply.error().message));
  return down_site(view.site(), file, view.slot().has_value());
}

// --- for people ---

struct Style {
  bool colour = false;
  [[nodiscard]] std::string paint(const std::string& text, const std::string& state) const {
    if (!colour) return text;
    const char* code = state == "up" ? "32" : state == "down" ? "31" : "33";
    return fmt::format("\033[{}m{}\033[0m", code, text);
  }
};

std::string bytes_text(const std::optional<std::uint64_t>& bytes) {
  if (!bytes) return "-";
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(*bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", *bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string figure(const std::optional<double>& value, const char* unit) {
  return value ? fmt::format("{:.1f} {}", *value, unit) : "-";
}

// What --watch adds: bits per second since the answer before, by site and WAN.
struct Traffic {
  double down = 0, up = 0;
};
using Rates = std::map<std::pair<std::string, std::string>, Traffic>;

std::string rate_text(double bits_per_second) {
  return bits_per_second < 1e6 ? fmt::format("{:.0f} kbit/s", bits_per_second / 1e3)
                               : fmt::format("{:.1f} Mbit/s", bits_per_second / 1e6);
}

std::string wan_line(const WanStatus& wan, std::size_t width, const Style& style, const Traffic* traffic) {
  std::string line =
      fmt::format("  {:<{}}  {}  {:>10}  {:>8}  {:>10}  {:>10}", wan.name, width,
                  style.paint(fmt::format("{:<9}", wan.state), wan.state), figure(wan.rtt_ms, "ms"),
                  figure(wan.loss_percent, "%"), bytes_text(wan.rx_bytes), bytes_text(wan.tx_bytes));
  if (wan.capacity_mbit || wan.share_percent) {
    line +=
        fmt::format("  {:>12}  {:>6}", figure(wan.capacity_mbit, "Mbit/s"), figure(wan.share_percent, "%"));
  }
  if (traffic != nullptr)
    line += fmt::format("  {:>12}  {:>12}", rate_text(traffic->down), rate_text(traffic->up));
  for (const std::string& words : {wan.reason, wan.explanation}) {
    if (!words.empty()) line += "  " + words;
  }
  return line;
}

std::string table(const SiteStatus& site, const Style& style, const Rates& rates) {
  std::string kind = site.role;
  if (!site.backend.empty()) kind += ", " + site.backend;
  std::string out = fmt::format("{}: {}{}", site.name, style.paint(site.state, site.state),
                                kind.empty() ? "" : fmt::format(" ({})", kind));
  if (!site.bond_interface.empty()) {
    out += fmt::format(", {} received {}, sent {}", site.bond_interface, bytes_text(site.bond_rx_bytes),
                       bytes_text(site.bond_tx_bytes));
  }
  out += "\n";
  std::size_t width = 3;
  for (const WanStatus& wan : site.wans) width = std::max(width, wan.name.size());
  if (!site.wans.empty()) {
    const bool measured = std::any_of(site.wans.begin(), site.wans.end(), [](const WanStatus& wan) {
      return wan.capacity_mbit || wan.share_percent;
    });
    out += fmt::format("  {:<{}}  {:<9}  {:>10}  {:>8}  {:>10}  {:>10}{}\n", "WAN", width, "state",
                       "round trip", "loss", "received", "sent",
                       measured ? fmt::format("  {:>12}  {:>6}", "capacity", "share") : "");
    if (!rates.empty()) {
      out.pop_back();
      out += fmt::format("  {:>12}  {:>12}\n", "down now", "up now");
    }
  }
  for (const WanStatus& wan : site.wans) {
    const auto traffic = rates.find({site.name, wan.name});
    out += wan_line(wan, width, style, traffic == rates.end() ? nullptr : &traffic->second) + "\n";
  }
  for (const std::string& warning : site.warnings) out += fmt::format("  note: {}\n", warning);
  return out;
}

struct Answer {
  std::vector<SiteStatus> sites;
  int exit_status = kDone;
  std::chrono::steady_clock::time_point when = std::chrono::steady_clock::now();
};

Rates rates_between(const Answer& before, const Answer& now) {
  Rates rates;
  const double seconds = std::chrono::duration<double>(now.when - before.when).count();
  const auto per_second = [&](const std::optional<std::uint64_t>& a, const std::optional<std::uint64_t>& b) {
    return a && b && *b >= *a ? static_cast<double>(*b - *a) * 8 / seconds : 0;
  };
  for (const SiteStatus& site : now.sites) {
    for (const SiteStatus& old : before.sites) {
      for (std::size_t i = 0; old.name == site.name && i < std::min(old.wans.size(), site.wans.size()); ++i) {
        const WanStatus& a = old.wans[i];
        const WanStatus& b = site.wans[i];
        if (a.name != b.name) continue;
        rates[{site.name, b.name}] = {per_second(a.rx_bytes, b.rx_bytes), per_second(a.tx_bytes, b.tx_bytes)};
      }
    }
  }
  return rates;
}

Answer ask_all(const StatusOptions& options, const std::vector<SiteFile>& sites) {
  Answer answer;
  for (const SiteFile& site : sites) {
    auto status = ask_site(control::RunDirView(options.run_root, site.site), site.path);
    if (status) {
      answer.sites.push_back(std::move(*status));
    } else {
      say_error(status.error());
      answer.exit_status = kFailed;
    }
  }
  return answer;
}

void show(const StatusOptions& options, const Answer& answer, const Rates& rates) {
  if (options.json) {
    // One site is an object, as the contract has it; several are an array of them.
    fmt::print("{}\n", answer.sites.size() == 1 ? ipc::status_json(answer.sites.front(), true)
                                                : ipc::status_json(answer.sites, true));
    return;
  }
  const Style style{isatty(STDOUT_FILENO) == 1};
  for (const SiteStatus& site : answer.sites) fmt::print("{}", table(site, style, rates));
}

// The sites to show; empty when the argument is wrong (said).
std::optional<std::vector<SiteFile>> sites_to_show(const StatusOptions& options) {
  if (!options.file.empty()) {
    auto file = find_site_file(options.file);
    if (!file) return std::nullopt;
    std::error_code ignored;
    if (!std::filesystem::exists(file->path, ignored) &&
        !control::RunDirView(options.run_root, file->site).exists()) {
      say(fmt::format("bondd: there is no site {}: it is not up, and there is no {}", file->site,
                      file->path.native()));
      return std::nullopt;
    }
    return std::vector{*file};
  }
  std::vector<SiteFile> sites;
  for (const std::string& site : control::known_sites(options.run_root)) {
    sites.push_back({std::filesystem::path("/etc/bondd") / (site + ".toml"), site});
  }
  return sites;
}

bool may_look(const StatusOptions& options) {
  if (access(options.run_root.c_str(), F_OK) != 0 || access(options.run_root.c_str(), R_OK | X_OK) == 0)
    return true;
  say("bondd: only root may ask for the status; try sudo");
  return false;
}

}  // namespace

int status_command(const StatusOptions& options) {
  if (!may_look(options)) return kFailed;
  std::optional<Answer> before;
  for (;;) {
    const auto sites = sites_to_show(options);
    if (!sites) return kFailed;
    const Answer answer = ask_all(options, *sites);
    const Rates rates = before ? rates_between(*before, answer) : Rates{};
    if (options.watch && !options.json) fmt::print("\033[H\033[J");
    if (answer.sites.empty() && answer.exit_status == kDone && !options.json) {
      say("no site is up");
    } else if (!answer.sites.empty() || options.json) {
      show(options, answer, rates);
    }
    if (!options.watch) return answer.exit_status;
    std::fflush(stdout);
    before = answer;
    std::this_thread::sleep_for(kWatchEvery);
  }
}

int reload_command(const CommonOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file) return kFailed;
  const control::RunDirView view(options.run_root, file->site);
  // A name means the file that the site came from, wherever that is.
  const bool by_name = options.file == file->site;
  const auto reply = ipc::ask(
      view.socket(), {ipc::Command::kReload, by_name ? "" : std::filesystem::absolute(file->path).string()},
      kReloadLimit);
  if (!reply) {
    const bool up = view.running().has_value();
    say(up                             ? fmt::format("bondd: {}", reply.error().message)
        : reply.error().code == EACCES ? fmt::format("bondd: only root may reload {}; try sudo", file->site)
                                       : fmt::format("bondd: {0} is not up; `bondd up {0}`", options.file));
    return kFailed;
  }
  for (const std::string& message : reply->messages) say(message);
  return reply->ok ? kDone : kFailed;
}

}  // namespace bondd
