// The supervisor's side of bondd-engine.
//
//   auto engine = EngineClient::spawn({.program = libexec + "/bondd-engine"});
//   engine->start(config, tun.get(), keys, {socket0.get(), socket1.get()});
//   poll engine->fd() and engine->pidfd() in your loop; when fd() is readable:
//     for (auto report = engine->receive(); report && *report; report = engine->receive())
//       std::visit(…, **report);     // EngineReady first, then events and status
//     an error with code EPIPE: the engine is gone; reap pid(), spawn again
//   engine->request(ipc::EngineGetStatus{});              // -> an EngineStatus report
//   engine->request(ipc::EngineAddLink{link}, {socket.get()});
//   engine->set_password(keys);
//   engine->request(ipc::EngineStop{});                   // ends with status 0
//
// Keep the tun's descriptor: the device then outlives a crashed engine, and the
// next one gets the same. Nothing here blocks but spawn(), for a fork.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/ipc/engine_protocol.h"
#include "bondd/ipc/fd_channel.h"

namespace bondd::ipc {

class EngineClient {
 public:
  struct SpawnOptions {
    std::string program;  // path of bondd-engine
    std::string user;     // to become; empty: _bondd where it exists, else nobody
    int log_fd = 2;       // its standard output and error; -1: /dev/null
  };

  // Starts the engine with one inherited descriptor, its end of the channel. It
  // dies with the calling thread's process. Fails when it cannot be executed.
  static Result<EngineClient> spawn(const SpawnOptions& options);
  // For a supervisor that starts processes itself: speaks over `channel`. The
  // engine's arguments are those of arguments(), its end is descriptor `fd`.
  EngineClient(FdChannel channel, pid_t pid, UniqueFd pidfd);
  static std::vector<std::string> arguments(const SpawnOptions& options, int fd);

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }  // readable once it has ended
  [[nodiscard]] int fd() const { return channel_.fd(); }    // readable: receive()

  // Sends the first request. The descriptors stay the caller's, sockets in the
  // order of config.links. `keys`, mlvpn::EngineKeys (mlvpn/session/key_pair.h), travel in a memory
  // file of their own.
  Result<> start(const EngineStart& config, int tun, std::span<const std::uint8_t> keys,
                 std::span<const int> sockets);
  Result<> set_password(std::span<const std::uint8_t> keys);
  Result<> request(const EngineRequest& request, std::span<const int> fds = {});

  // The next report; empty when there is none now.
  Result<std::optional<EngineReport>> receive();

 private:
  FdChannel channel_;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

}  // namespace bondd::ipc
