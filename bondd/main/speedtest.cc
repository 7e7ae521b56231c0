// `bondd speedtest`: each line alone, then the bond, against the other end. The bondd of both ends lets one
// line carry alone for the time; all is as before once this command's connection to bondd closes, whatever
// ends it.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <thread>

#include "bondd/main/ask_sites.h"
#include "bondd/main/operate.h"
#include "bondd/main/site_file.h"
#include "bondd/main/terminal.h"
#include "bondd/mlvpn/io/sandbox.h"
#include "bondd/speedtest/rate.h"
#include "bondd/speedtest/report.h"
#include "bondd/speedtest/responder.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;
using speedtest::Direction;
using speedtest::Row;

constexpr auto kAskLimit = 5s;
constexpr auto kAskEvery = 100ms;
// What the two ends tell each other takes a second or two each way.
constexpr auto kReadyLimit = 15s;
constexpr auto kIdleTime = 1500ms;
constexpr auto kDrainTime = 500ms;  // for what is in flight, between down and up
constexpr auto kThinkTime = 5s;     // before a test that may cost money, at a terminal
// Of what the lines carried meanwhile, the measured one at least.
constexpr double kLeastShare = 0.9;

// What the lines have carried so far.
struct Carried {
  std::uint64_t rx = 0, tx = 0, all_rx = 0, all_tx = 0;
};

Carried carried(const model::SiteStatus& site, const std::string& wan) {
  Carried out;
  for (const model::WanStatus& one : site.wans) {
    const std::uint64_t rx = one.rx_bytes.value_or(0);
    const std::uint64_t tx = one.tx_bytes.value_or(0);
    out.all_rx += rx;
    out.all_tx += tx;
    if (one.name != wan) continue;
    out.rx = rx;
    out.tx = tx;
  }
  return out;
}

class Test {
 public:
  Test(control::RunDirView view, UniqueFd connection, control::EventLoop& loop, const model::SiteStatus& site)
      : view_(std::move(view)), connection_(std::move(connection)), loop_(loop) {
    place_.device = site.bond_interface;
  }

  // Lets `wan` carry alone ("": all), at both ends; blocks until they do.
  Result<ipc::SpeedTestNow> steer(const std::string& wan) {
    ipc::Request request;
    request.command = ipc::Command::kSpeedTest;
    request.wan = wan;
    const auto end = std::chrono::steady_clock::now() + kReadyLimit;
    for (;;) {
      const auto reply = ipc::ask(connection_.get(), request, kAskLimit);
      if (!reply) return tl::make_unexpected(reply.error());
      if (!reply->ok) return failure(reply->messages.empty() ? "refused" : reply->messages.front());
      auto now = ipc::parse_speed_test(reply->status);
      if (!now || now->ready) return now;
      if (std::chrono::steady_clock::now() >= end) return failure(now->why_not_yet);
      std::this_thread::sleep_for(kAskEvery);
    }
  }

  Row measure(const model::SiteStatus& site, const std::string& wan, std::uint64_t most_bytes) {
    Row row;
    row.wan = wan;
    const auto now = steer(wan);
    if (!now) return row.reason = "not measured: " + now.error().message, row;
    const auto own = parse_ip(now->address);
    const auto peer = parse_ip(site.bond_peer);
    if (!own || !peer) return row.reason = "not measured: the bond has no addresses", row;
    place_.own = *own;
    place_.peer = *peer;
    place_.port = now->port;
    place_.token = now->token;
    if (auto done = fill(row, most_bytes); !done) row.reason = "not measured: " + done.error().message;
    return row;
  }

 private:
  Result<> fill(Row& row, std::uint64_t most_bytes) {
    auto idle = speedtest::idle_latency(loop_, place_, kIdleTime);
    if (!idle) return tl::make_unexpected(idle.error());
    row.idle_ms = *idle;
    const auto before = ask_running(view_);
    auto down = speedtest::transfer(loop_, place_, Direction::kDown, most_bytes);
    if (!down) return tl::make_unexpected(down.error());
    row.down = *down;
    std::this_thread::sleep_for(kDrainTime);
    auto up = speedtest::transfer(loop_, place_, Direction::kUp, most_bytes);
    if (!up) return tl::make_unexpected(up.error());
    row.up = *up;
    std::this_thread::sleep_for(kDrainTime);
    const auto after = ask_running(view_);
    if (!before) return tl::make_unexpected(before.error());
    if (!after) return tl::make_unexpected(after.error());
    if (!row.wan.empty()) check_share(row, carried(*before, row.wan), carried(*after, row.wan));
    if (row.reason.empty() && (!row.down.mbit || !row.up.mbit))
      row.reason = "too little arrived to tell a rate";
    return {};
  }

  // A figure is the line's only if the line carried what was measured.
  static void check_share(Row& row, const Carried& before, const Carried& after) {
    const auto share = [](std::uint64_t part, std::uint64_t all) {
      return all == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(all);
    };
    const double rx = share(after.rx - before.rx, after.all_rx - before.all_rx);
    const double tx = share(after.tx - before.tx, after.all_tx - before.all_tx);
    if (rx < kLeastShare) row.down.mbit.reset();
    if (tx < kLeastShare) row.up.mbit.reset();
    if (rx < kLeastShare || tx < kLeastShare) {
      row.reason = fmt::format("not this line's: other lines carried {:.0f} % down and {:.0f} % up",
                               100 * (1 - rx), 100 * (1 - tx));
    }
  }

  control::RunDirView view_;
  UniqueFd connection_;
  control::EventLoop& loop_;
  speedtest::Place place_;
};

std::string key_of(const ipc::SpeedTestNow& now, const std::string& wan) {
  const auto found = std::ranges::find(now.metered, wan, [](const auto& one) { return one.first; });
  return found == now.metered.end() ? "" : found->second;
}

std::vector<std::string> lines_of(const model::SiteStatus& site, const std::vector<std::string>& only) {
  std::vector<std::string> out;
  for (const model::WanStatus& wan : site.wans) {
    if (only.empty() || std::ranges::find(only, wan.name) != only.end()) out.push_back(wan.name);
  }
  return out;
}

// Says what is about to happen. At a terminal there is time to think where it may cost money.
void announce(const std::string& site, const std::vector<std::string>& lines, bool bond,
              const ipc::SpeedTestNow& now) {
  std::vector<std::pair<std::string, std::string>> metered;
  for (const std::string& line : lines) {
    if (const std::string key = key_of(now, line); !key.empty()) metered.emplace_back(line, key);
  }
  fmt::print(stderr, "{}", speedtest::announcement(site, lines.size() + (bond ? 1 : 0), metered));
  if (metered.empty() || isatty(STDERR_FILENO) != 1) return;
  fmt::print(stderr, "It begins in {} s; Ctrl-C stops it.\n", kThinkTime.count());
  std::this_thread::sleep_for(kThinkTime);
}

int run(Test& test, const model::SiteStatus& site, const SpeedtestOptions& options) {
  const auto now = test.steer("");
  if (!now) return say(fmt::format("bondd: {}: {}", site.name, now.error().message)), kFailed;
  const std::vector<std::string> lines = lines_of(site, options.lines);
  const bool bond = options.lines.empty();
  announce(site.name, lines, bond, *now);
  speedtest::Report report{site.name, std::time(nullptr), {}};
  if (!options.json) fmt::print("{}", speedtest::table_head());
  const auto add = [&](Row row) {
    row.metered = key_of(*now, row.wan);
    if (!options.json) fmt::print("{}", speedtest::table_row(row));
    std::fflush(stdout);
    report.rows.push_back(std::move(row));
  };
  for (const std::string& line : lines) {
    const auto wan = std::ranges::find(site.wans, line, &model::WanStatus::name);
    if (!model::is_heard(wan->state)) {
      Row row;
      row.wan = line;
      row.reason = fmt::format("not measured: it is {}{}{}", to_string(wan->state),
                               wan->reason.empty() ? "" : ", ", wan->reason);
      add(std::move(row));
      continue;
    }
    add(test.measure(site, line, key_of(*now, line).empty() ? 0 : speedtest::kMeteredBytes));
  }
  if (bond) add(test.measure(site, "", 0));
  if (options.json) fmt::print("{}\n", speedtest::json(report));
  return speedtest::complete(report) ? kDone : kFailed;
}

}  // namespace

int speedtest_command(const SpeedtestOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  const control::RunDirView view(options.run_root, file->site);
  const auto site = ask_running(view);
  if (!site) return say_error(why_silent(view, site.error())), kFailed;
  for (const std::string& line : options.lines) {
    if (std::ranges::find(site->wans, line, &model::WanStatus::name) != site->wans.end()) continue;
    return say(fmt::format("bondd: {} has no WAN {}", site->name, line)), kFailed;
  }
  if (site->state == model::SiteState::kDown)
    return say(fmt::format("bondd: {} carries no traffic; `bondd status {}` says why", site->name,
                           site->name)),
           kFailed;
  auto connection = ipc::connect_control(view.socket());
  if (!connection) return say_error(why_silent(view, connection.error())), kFailed;
  auto loop = control::EventLoop::create();
  if (!loop) return say_error(loop.error()), kFailed;
  std::signal(SIGPIPE, SIG_IGN);
  Test test(view, std::move(*connection), **loop, *site);
  return run(test, *site, options);
}

int speedtest_responder_command(const std::string& user) {
  const int parent = getppid();
  auto channel = ipc::FdChannel::adopt(UniqueFd(STDIN_FILENO));
  if (!channel) return say_error(channel.error()), kFailed;
  if (const auto dropped = mlvpn::drop_rights(user, parent); !dropped)
    return say_error(dropped.error()), kFailed;
  const auto done = speedtest::respond(std::move(*channel));
  return done ? kDone : (say_error(done.error()), kFailed);
}

}  // namespace bondd
