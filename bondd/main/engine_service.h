// bondd-engine's conversation with its supervisor: requests become calls of the
// driver and its engine, events and figures become reports.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "bondd/base/error.h"
#include "bondd/ipc/engine_protocol.h"
#include "bondd/ipc/fd_channel.h"
#include "bondd/mlvpn/io/driver.h"

namespace bondd {

class EngineService {
 public:
  // `sandbox` says what drop_rights() did, for EngineReady.
  EngineService(ipc::FdChannel channel, std::string sandbox)
      : channel_(std::move(channel)), sandbox_(std::move(sandbox)) {}

  // Waits for the first request, gives up the last rights, and carries packets
  // until EngineStop, SIGTERM or the supervisor's end; says DISCONNECT on every
  // link then. Fails with the reason when it cannot start or go on; the
  // supervisor was told.
  Result<> run();

  // Makes run() return; from a signal handler.
  static void request_stop();

 private:
  Result<> start(ipc::EngineStart request, std::vector<UniqueFd> fds);
  Result<> wait_for_start();
  void read_requests();
  Result<> handle(ipc::EngineRequest& request, std::vector<UniqueFd>& fds);
  Result<> add_link(const ipc::EngineLink& link, UniqueFd socket);
  Result<mlvpn::LinkId> find(const std::string& name) const;
  std::string name_of(mlvpn::LinkId id) const;
  ipc::EngineStatus status() const;
  void report(const ipc::EngineReport& report);
  void on_event(const mlvpn::LinkEvent& event);
  void send_pending();

  ipc::FdChannel channel_;
  std::string sandbox_;
  std::unique_ptr<mlvpn::Driver> driver_;
  std::map<std::string, mlvpn::LinkId> links_;
  std::deque<std::string> pending_;  // reports that the supervisor did not read yet
  bool stop_ = false;
};

}  // namespace bondd
