// The two daemons' part in `bondd speedtest`. The tester's bondd asks the other one, by what they tell each
// other anyway, to listen inside the bond and to use one WAN alone; the traffic itself is the command's at
// one end and a process without rights at the other.
//
//   command --kSpeedTest--> SpeedTestAsker --"speedtest TOKEN PORT"--> SpeedTestGuest --> responder process
//                                          <--"speedtest-ready …"----
//
// Nothing listens when no test runs. All is undone when the command's connection closes, however it ended.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/control/event_loop.h"
#include "bondd/ipc/fd_channel.h"
#include "bondd/ipc/messages.h"
#include "bondd/model/config.h"
#include "bondd/problems/peer_settings.h"
#include "bondd/supervise/spawn.h"

namespace bondd::control {

// At the tester's end. Pure but for the token.
class SpeedTestAsker {
 public:
  // A command that stands still for so long has its test ended.
  static constexpr Duration kLease = std::chrono::seconds(30);

  // Begins the test of that connection, or changes the WAN that carries alone ("": all do). The error is for
  // people. `theirs`: what the other end tells, if it did.
  Result<> ask(TimePoint now, std::uint64_t connection, const std::string& wan, const model::Config& config,
               const problems::PeerSettings* theirs);
  // True if the test was that connection's, or its lease is over: it has ended.
  bool close(std::uint64_t connection);
  bool expire(TimePoint now);

  [[nodiscard]] bool runs() const { return test_.has_value(); }
  // The WAN that shall carry alone; may be empty.
  [[nodiscard]] std::string wan() const { return test_ ? test_->wan : ""; }
  // What to tell the other end.
  [[nodiscard]] std::optional<problems::PeerSettings::SpeedTest> asks() const;
  // `alone`: the WAN that carries alone here now.
  [[nodiscard]] ipc::SpeedTestNow now(TimePoint now, const model::Config& config,
                                      const problems::PeerSettings* theirs, const std::string& alone) const;

 private:
  struct Test {
    std::uint64_t connection = 0;
    std::string token, wan;
    std::uint16_t wan_port = 0;
    TimePoint asked, changed;
  };
  std::optional<Test> test_;
};

// At the other end: one responder process, for one token.
class SpeedTestGuest {
 public:
  // Listens at an ephemeral port of `config`'s address in the bond, for its peer alone, and starts the
  // process as `user` (empty: see mlvpn::drop_rights()). `on_end` is called, on the loop, when it ends by
  // itself.
  static Result<std::unique_ptr<SpeedTestGuest>> start(EventLoop& loop, const model::Config& config,
                                                       const std::string& token, const std::string& user,
                                                       std::function<void()> on_end);
  ~SpeedTestGuest();
  SpeedTestGuest(const SpeedTestGuest&) = delete;
  SpeedTestGuest& operator=(const SpeedTestGuest&) = delete;

  [[nodiscard]] const std::string& token() const { return token_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  SpeedTestGuest(std::string token, std::uint16_t port, ipc::FdChannel channel, supervise::Spawned process)
      : token_(std::move(token)), port_(port), channel_(std::move(channel)), process_(std::move(process)) {}
  std::string token_;
  std::uint16_t port_;
  ipc::FdChannel channel_;
  supervise::Spawned process_;
  Registration watch_;
};

// A daemon's part in the tests of both ends.
class SpeedTests {
 public:
  SpeedTests() = default;
  SpeedTests(const SpeedTests&) = delete;
  SpeedTests& operator=(const SpeedTests&) = delete;

  // What to tell the other end, and which WAN carries alone: by the command here, by the other end's.
  struct Wanted {
    std::optional<problems::PeerSettings::SpeedTest> asks;
    std::optional<problems::PeerSettings::SpeedTestReady> answer;
    std::string alone_here, alone_there;
    bool operator==(const Wanted&) const = default;
  };
  // `theirs` everywhere: what the other end tells; null: nothing.
  [[nodiscard]] Wanted wanted(const model::Config& config, const problems::PeerSettings* theirs) const;
  // Keeps it; false if it was wanted before.
  bool follow(Wanted now);

  // Of this end's command.
  [[nodiscard]] SpeedTestAsker& asker() { return asker_; }
  [[nodiscard]] const SpeedTestAsker& asker() const { return asker_; }

  // The token of the other end's test that is to be answered now, and of the one that is; empty: none.
  [[nodiscard]] std::string wished(TimePoint now, const problems::PeerSettings* theirs) const;
  [[nodiscard]] std::string answered() const { return guest_ ? guest_->token() : ""; }
  // Where it is; 0: none is.
  [[nodiscard]] std::uint16_t port() const { return guest_ ? guest_->port() : 0; }
  [[nodiscard]] std::optional<problems::PeerSettings::SpeedTestReady> answer(
      const problems::PeerSettings* theirs) const;
  // See SpeedTestGuest::start(); this one is not begun again.
  Result<> begin_guest(EventLoop& loop, const model::Config& config, const std::string& token,
                       const std::string& user, std::function<void()> on_end);
  void end_guest() { guest_.reset(); }

 private:
  SpeedTestAsker asker_;
  std::unique_ptr<SpeedTestGuest> guest_;
  std::string spent_;  // the token of the last one that ended, or did not start
  TimePoint next_;     // before that no other one is answered
  Wanted told_;
};

}  // namespace bondd::control
