// The daemon's end of the control socket: accepts, reads one request per line, answers.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "bondd/control/event_loop.h"
#include "bondd/ipc/messages.h"

namespace bondd::control {

class ControlServer {
 public:
  using Handler = std::function<ipc::Reply(const ipc::Request&)>;

  // Listens at `path` (mode 0600: root only; a stale socket there is replaced). Connections
  // that say nothing sensible are closed; at most 32 at a time.
  static Result<std::unique_ptr<ControlServer>> listen(EventLoop& loop, const std::filesystem::path& path,
                                                       Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Who asked with kMonitor and is still there. A listener that does not read what it is told is closed.
  [[nodiscard]] bool has_listeners() const;
  void tell(const std::string& line);

 private:
  struct Connection {
    UniqueFd fd;
    std::string input;
    bool listens = false;
    Registration watch;  // after fd, so that it leaves the loop first
  };
  ControlServer(EventLoop& loop, std::filesystem::path path, UniqueFd fd, Handler handler);
  void accept_all();
  void read_from(int fd);
  bool answer(Connection& connection, const std::string& line);
  static bool send_line(const Connection& connection, const std::string& line);  // false: it cannot be sent

  EventLoop& loop_;
  std::filesystem::path path_;
  UniqueFd fd_;
  Handler handler_;
  Registration watch_;
  std::map<int, Connection> connections_;
};

}  // namespace bondd::control
