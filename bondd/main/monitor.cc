// `bondd monitor`: what happens at running sites, as it happens.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <ctime>
#include <map>
#include <set>

#include "bondd/base/clock.h"
#include "bondd/ipc/control_client.h"
#include "bondd/main/ask_sites.h"
#include "bondd/main/operate.h"
#include "bondd/main/site_file.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookEvery = 1s;                  // for sites that came up
constexpr std::size_t kLongestLine = 64 * 1024;  // of one event; a bondd that says more is not understood

std::string text_of(const model::Event& event) {
  const std::string what = event.wan.empty() ? event.event : fmt::format("{} {}", event.event, event.wan);
  const std::string from = event.from.empty() ? "" : event.from + " -> ";
  return fmt::format("{} {}: {}: {}{}{}", clock_text(event.time), event.site, what, from,
                     event.to.empty() ? "gone" : event.to,
                     event.reason.empty() ? "" : fmt::format(" ({})", event.reason));
}

// One running site that is listened to.
struct Stream {
  UniqueFd fd;
  std::string input;
  bool answered = false;
};

class Monitor {
 public:
  explicit Monitor(const MonitorOptions& options) : options_(options) {}

  // Until whoever reads standard output is gone. The exit status.
  int run() {
    auto next_look = std::chrono::steady_clock::now();
    while (!closed_) {
      if (std::chrono::steady_clock::now() >= next_look) {
        if (!look()) return kFailed;
        next_look = std::chrono::steady_clock::now() + kLookEvery;
      }
      wait();
    }
    return kDone;
  }

 private:
  // False, and said, when there is nothing that may be looked at.
  bool look() {
    const auto sites = sites_to_show(options_.run_root, options_.file);
    if (!sites) return false;
    for (const SiteFile& site : *sites) {
      if (!streams_.contains(site.site) && !listen_to(site.site)) return false;
    }
    return true;
  }

  bool listen_to(const std::string& site) {
    const control::RunDirView view(options_.run_root, site);
    auto fd = ipc::connect_control(view.socket());
    if (!fd) {
      const Error why = why_silent(view, fd.error());
      if (why.code == EACCES) return say_error(why), false;
      // Said once; it may come up at any time.
      if (told_stopped_.insert(site).second) tell_of_bondd(site, "", "stopped", why.message);
      return true;
    }
    ipc::Request request;
    request.command = ipc::Command::kMonitor;
    const std::string line = ipc::render(request) + "\n";
    if (send(fd->get(), line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size()))
      streams_[site].fd = std::move(*fd);
    return true;
  }

  void wait() {
    // With no events asked for, poll() tells when the other end of a pipe is closed.
    std::vector<pollfd> fds = {{STDOUT_FILENO, 0, 0}};
    std::vector<std::string> names = {""};
    for (const auto& [name, stream] : streams_) {
      fds.push_back({stream.fd.get(), POLLIN, 0});
      names.push_back(name);
    }
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(kLookEvery).count();
    if (poll(fds.data(), fds.size(), static_cast<int>(limit)) <= 0) return;
    closed_ = (fds[0].revents & (POLLERR | POLLHUP)) != 0;
    for (std::size_t i = 1; i < fds.size() && !closed_; ++i) {
      if (fds[i].revents != 0) read_from(names[i]);
    }
  }

  void read_from(const std::string& site) {
    Stream& stream = streams_.at(site);
    std::array<char, 4096> buffer{};
    const ssize_t got = read(stream.fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) return;
    if (got > 0) stream.input.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end = 0; (end = stream.input.find('\n')) != std::string::npos;) {
      const std::string line = stream.input.substr(0, end);
      stream.input.erase(0, end + 1);
      if (std::exchange(stream.answered, true)) {
        show(line);
      } else {
        begin(site, line);
      }
    }
    if (got > 0 && stream.input.size() <= kLongestLine) return;
    const bool was_running = stream.answered;
    streams_.erase(site);
    if (!was_running) return;
    told_stopped_.insert(site);
    tell_of_bondd(site, "running", "stopped", fmt::format("the bondd of {} went away", site));
  }

  // The first line is the reply: with all that there is now, as events.
  void begin(const std::string& site, const std::string& line) {
    const auto reply = ipc::parse_control_reply(line);
    if (!reply || !reply->ok) {
      const std::string why = reply && !reply->messages.empty() ? reply->messages.front() : "not understood";
      return tell_of_bondd(site, "", "running", fmt::format("it cannot be listened to: {}", why));
    }
    const bool again = told_stopped_.erase(site) != 0;
    tell_of_bondd(site, again ? "stopped" : "", "running", "what follows is its state now");
    for (const std::string& event : reply->messages) show(event);
  }

  void tell_of_bondd(const std::string& site, std::string from, std::string to, std::string reason) {
    show(ipc::render(model::Event{std::time(nullptr), site, "", "bondd", std::move(from), std::move(to),
                                  std::move(reason)}));
  }

  void show(const std::string& line) {
    if (options_.json) return print_line(line);
    if (const auto event = ipc::parse_event(line)) print_line(text_of(*event));
  }

  // At once, so that whoever reads has each event when it happens.
  void print_line(const std::string& line) {
    const std::string text = line + "\n";
    for (std::size_t done = 0; done < text.size() && !closed_;) {
      const ssize_t wrote = write(STDOUT_FILENO, text.data() + done, text.size() - done);
      if (wrote > 0) done += static_cast<std::size_t>(wrote);
      closed_ = wrote < 0 && errno != EINTR;
    }
  }

  const MonitorOptions& options_;
  std::map<std::string, Stream> streams_;  // by site
  std::set<std::string> told_stopped_;
  bool closed_ = false;  // standard output: nobody reads any more
};

}  // namespace

int monitor_command(const MonitorOptions& options) {
  if (!may_look(options.run_root)) return kFailed;
  std::signal(SIGPIPE, SIG_IGN);
  return Monitor(options).run();
}

}  // namespace bondd
