// bondd's part of [web]: listens, starts bondd-web and tells it what is to be seen. It hears nothing of it
// but that it ended, and what it prints.
#pragma once

#include <optional>
#include <string>

#include "bondd/base/secret.h"
#include "bondd/control/event_loop.h"
#include "bondd/control/log.h"
#include "bondd/ipc/fd_channel.h"
#include "bondd/ipc/web_protocol.h"
#include "bondd/model/config.h"
#include "bondd/supervise/lines.h"
#include "bondd/supervise/spawn.h"

namespace bondd::control {

class WebProcess {
 public:
  // Both borrowed.
  WebProcess(EventLoop& loop, Log& log);
  ~WebProcess() { stop(); }
  WebProcess(const WebProcess&) = delete;
  WebProcess& operator=(const WebProcess&) = delete;

  // As this file has it from now on: the page runs, is begun anew (another address or token), or there is
  // none. What keeps it from running is logged once, and tried again every few seconds. `user`: see
  // mlvpn::drop_rights(); empty: _bondd-web where that user exists, else nobody.
  void follow(const model::Config& config, const std::string& user);
  // Ends it, and waits a moment for that.
  void stop();

  [[nodiscard]] bool runs() const { return channel_.has_value(); }
  // Why the file's page is not there, in words; empty when it is.
  [[nodiscard]] const std::string& error() const { return error_; }
  // Nothing happens when it does not run. Of a process that does not read the next one hears.
  void tell_status(const std::string& status_json) { tell(ipc::WebMessage::Kind::kStatus, status_json); }
  void tell_event(const std::string& line) { tell(ipc::WebMessage::Kind::kEvent, line); }

 private:
  void start();
  Result<> try_start();
  void start_later();
  void tell(ipc::WebMessage::Kind kind, const std::string& text);
  void tell_site();
  void watch();
  void read_output();
  void on_exit();
  void forget();

  EventLoop& loop_;
  Log& log_;
  model::Config config_;
  std::string user_, error_;
  Secret token_;                           // of the process that runs
  std::int64_t started_s_, loaded_s_ = 0;  // since 1970
  TimePoint began_;
  Duration backoff_{};
  std::optional<ipc::FdChannel> channel_;
  supervise::Spawned process_;
  UniqueFd output_;
  supervise::LineReader reader_;
  Registration output_watch_, exit_watch_, start_timer_;
};

}  // namespace bondd::control
