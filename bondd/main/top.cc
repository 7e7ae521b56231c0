// `bondd top`: the lines of a site, or of all, on a screen of their own, and keys to take one out of use.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "bondd/base/clock.h"
#include "bondd/control/events.h"
#include "bondd/main/ask_sites.h"
#include "bondd/main/curses_screen.h"
#include "bondd/main/operate.h"
#include "bondd/main/site_file.h"
#include "bondd/main/terminal.h"
#include "bondd/main/top_view.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;

// As often as the engine tells its counters.
constexpr auto kLookEvery = 1s;
constexpr auto kTellLimit = 5s;

class Top {
 public:
  Top(const CommonOptions& options, CursesScreen& screen)
      : options_(options), screen_(screen), view_(screen.ascii()) {}

  // Until the user leaves. The exit status.
  int run() {
    auto next = std::chrono::steady_clock::now();
    for (;;) {
      if (std::chrono::steady_clock::now() >= next) {
        if (!look()) return kFailed;
        next = std::max(next + kLookEvery, std::chrono::steady_clock::now());
      }
      screen_.draw(view_.render(screen_.size(), clock_text(std::time(nullptr))));
      const auto left = std::max<Duration>(next - std::chrono::steady_clock::now(), 1ms);
      if (!handle(screen_.read(left))) return kDone;
    }
  }

 private:
  bool look() {
    const auto sites = sites_to_show(options_.run_root, options_.file);
    if (!sites) return false;
    Answer answer = ask_all(options_.run_root, *sites);
    const std::int64_t now = std::time(nullptr);
    for (const model::SiteStatus& site : answer.sites) {
      const auto known = std::ranges::find(before_, site.name, &model::SiteStatus::name);
      if (known == before_.end()) continue;
      for (const model::Event& event : control::changes(now, &*known, site)) view_.add_event(event);
    }
    before_ = answer.sites;
    const std::chrono::duration<double> moment = std::chrono::steady_clock::now().time_since_epoch();
    view_.update(now, moment.count(), std::move(answer.sites));
    return true;
  }

  // False when the user wants to leave.
  bool handle(Key key) {
    switch (key) {
      case Key::kQuit:
        return false;
      case Key::kArrowUp:
        view_.move(-1);
        return true;
      case Key::kArrowDown:
        view_.move(1);
        return true;
      case Key::kDrain:
        tell(ipc::Command::kDrain);
        return true;
      case Key::kRestore:
        tell(ipc::Command::kRestore);
        return true;
      case Key::kNone:
      case Key::kResized:
        return true;
    }
    return true;
  }

  void tell(ipc::Command command) {
    const auto selected = view_.selected();
    if (!selected) return;
    ipc::Request request;
    request.command = command;
    request.wan = selected->wan;
    const control::RunDirView run_dir(options_.run_root, selected->site);
    const auto reply = ipc::ask(run_dir.socket(), request, kTellLimit);
    if (!reply) return view_.set_message(why_silent(run_dir, reply.error()).message);
    view_.set_message(reply->messages.empty() ? "" : reply->messages.front());
    look();
  }

  const CommonOptions& options_;
  CursesScreen& screen_;
  TopView view_;
  std::vector<model::SiteStatus> before_;
};

int no_screen(const std::string& why) {
  say(fmt::format("bondd: {}; `bondd status --watch` shows the same as text", why));
  return kFailed;
}

}  // namespace

int top_command(const CommonOptions& options) {
  if (!may_look(options.run_root)) return kFailed;
  if (!sites_to_show(options.run_root, options.file)) return kFailed;
  if (!has_screen()) return no_screen("top needs a terminal that can move the cursor");
  auto screen = CursesScreen::open(shall_colour());
  if (!screen) return no_screen(screen.error().message);
  return Top(options, **screen).run();
}

}  // namespace bondd
