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
  // Each connection has a number of its own, never given twice.
  using Handler = std::function<ipc::Reply(const ipc::Request&, std::uint64_t connection)>;
  using OnClosed = std::function<void(std::uint64_t connection)>;

  // Listens at `path` (mode 0600: root only; a stale socket there is replaced). Connections
  // that say nothing sensible are closed; at most 32 at a time.
  static Result<std::unique_ptr<ControlServer>> listen(EventLoop& loop, const std::filesystem::path& path,
                                                       Handler handler, OnClosed on_closed);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Who asked with kMonitor and is still there. A listener that does not read what it is told is closed.
  [[nodiscard]] bool has_listeners() const;
  void tell(const std::string& line);

 private:
  struct Connection {
    UniqueFd fd;
    std::uint64_t number = 0;
    std::string input;
    bool listens = false;
    Registration watch;  // after fd, so that it leaves the loop first
  };
  ControlServer(EventLoop& loop, std::filesystem::path path, UniqueFd fd, Handler handler,
                OnClosed on_closed);
  void accept_all();
  void read_from(int fd);
  void close(int fd);
  bool answer(Connection& connection, const std::string& line);
  static bool send_line(const Connection& connection, const std::string& line);  // false: it cannot be sent

  EventLoop& loop_;
  std::filesystem::path path_;
  UniqueFd fd_;
  Handler handler_;
  OnClosed on_closed_;
  std::uint64_t last_number_ = 0;
  Registration watch_;
  std::map<int, Connection> connections_;
};

}  // namespace bondd::control
