// `bondd ping`: each second the latency of each line, as bondd measures it in the tunnel, and an echo request
// through the bond to the other end.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <ctime>
#include <map>
#include <memory>

#include "bondd/base/clock.h"
#include "bondd/control/event_loop.h"
#include "bondd/control/peer_ping.h"
#include "bondd/main/ask_sites.h"
#include "bondd/main/operate.h"
#include "bondd/main/ping_view.h"
#include "bondd/main/site_file.h"
#include "bondd/main/terminal.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;

constexpr auto kEvery = 1s;

class Ping {
 public:
  Ping(control::EventLoop& loop, control::RunDirView view, PingView ping_view, unsigned count)
      : loop_(loop),
        view_(std::move(view)),
        shown_(std::move(ping_view)),
        left_(count),
        counted_(count > 0) {}

  Result<> open(const model::SiteStatus& site) {
    const auto peer = parse_ip(site.bond_peer);
    if (!peer) return failure(fmt::format("the bondd of {} is an older one; restart it", site.name));
    auto ping = control::PeerPing::create(loop_, site.bond_interface, *peer,
                                          [this](std::uint16_t number) { on_answer(number); });
    if (!ping) return tl::make_unexpected(ping.error());
    ping_ = std::move(*ping);
    return loop_.watch_signals({SIGINT, SIGTERM}, [this](int) { loop_.quit(); });
  }

  int run() {
    fmt::print("{}", shown_.head());
    send();
    loop_.run();
    fmt::print("{}", shown_.summary());
    return !failed_ && shown_.any_answer() ? kDone : kFailed;
  }

 private:
  void send() {
    const std::uint16_t number = ping_->send();
    sent_at_[number] = control::EventLoop::now();
    shown_.handle_request(number);
    timer_ = loop_.after(kEvery, [this, number] { show(number); });
  }

  void on_answer(std::uint16_t number) {
    const auto sent = sent_at_.find(number);
    if (sent == sent_at_.end()) return;
    shown_.handle_answer(number, control::EventLoop::now() - sent->second);
    sent_at_.erase(sent);
  }

  void show(std::uint16_t number) {
    const auto site = ask_running(view_);
    if (!site) {
      say_error(why_silent(view_, site.error()));
      failed_ = true;
      return loop_.quit();
    }
    fmt::print("{}", shown_.row(clock_text(std::time(nullptr)), *site, number));
    failed_ = !written_out();
    if (failed_ || (counted_ && --left_ == 0)) return loop_.quit();
    send();
  }

  control::EventLoop& loop_;
  control::RunDirView view_;
  PingView shown_;
  unsigned left_;
  bool counted_, failed_ = false;
  std::map<std::uint16_t, TimePoint> sent_at_;
  std::unique_ptr<control::PeerPing> ping_;
  control::Registration timer_;
};

}  // namespace

int ping_command(const PingOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  const control::RunDirView view(options.run_root, file->site);
  const auto site = ask_running(view);
  if (!site) return say_error(why_silent(view, site.error())), kFailed;
  auto loop = control::EventLoop::create();
  if (!loop) return say_error(loop.error()), kFailed;
  Ping ping(**loop, view, PingView(*site), options.count);
  if (auto opened = ping.open(*site); !opened) return say_error(opened.error()), kFailed;
  return ping.run();
}

}  // namespace bondd
