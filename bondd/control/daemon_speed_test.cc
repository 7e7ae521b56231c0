// `bondd speedtest` at either end; see speed_test.h.
#include <fmt/format.h>

#include "bondd/control/daemon.h"

namespace bondd::control {

ipc::Reply Daemon::speed_test(const ipc::Request& request, std::uint64_t connection) {
  const auto told = theirs();
  const problems::PeerSettings* const other = told ? &*told : nullptr;
  SpeedTestAsker& asker = speed_tests_.asker();
  const bool begins = !asker.runs();
  auto asked = asker.ask(EventLoop::now(), connection, request.wan, options_.config, other);
  if (!asked) return {false, {asked.error().message}, {}};
  if (begins) log_.info("a speed test begins");
  follow_speed_test();
  return {true, {}, ipc::render(asker.now(EventLoop::now(), options_.config, other, drained_.alone()))};
}

void Daemon::speed_test_closed(std::uint64_t connection) {
  if (!speed_tests_.asker().close(connection)) return;
  log_.info("the speed test has ended");
  follow_speed_test();
}

// Of what the command here and the other end ask for: the responder, its hole in the firewall, the WAN that
// carries alone; and the other end is told at once.
void Daemon::follow_speed_test() {
  if (stopping_ || !diagnosis_ || !brought_up_) return;
  if (speed_tests_.asker().expire(EventLoop::now()))
    log_.warning("the speed test stood still, and was ended");
  const auto told = theirs();
  const problems::PeerSettings* const other = told ? &*told : nullptr;
  follow_speed_test_guest(other);
  const auto wanted = speed_tests_.wanted(options_.config, other);
  if (!speed_tests_.follow(wanted)) return;
  drained_.set_alone(wanted.alone_here, wanted.alone_there);
  follow_drained(measured_wans({}));
  diagnose();
}

void Daemon::follow_speed_test_guest(const problems::PeerSettings* told) {
  const std::string has = speed_tests_.answered(), wants = speed_tests_.wished(EventLoop::now(), told);
  if (has == wants) return;
  speed_tests_.end_guest();
  if (!wants.empty()) {
    auto begun = speed_tests_.begin_guest(loop_, options_.config, wants, options_.programs.user,
                                          [this] { follow_speed_test(); });
    if (!begun)
      log_.warning(fmt::format("the other end's speed test is not answered: {}", begun.error().message));
  }
  const bool answers = speed_tests_.port() != 0;
  if (has.empty() == answers)
    log_.info(answers ? "a speed test of the other end begins" : "the other end's speed test has ended");
  reconciler_->set_speed_test_port(speed_tests_.port());
  run_pass(Depth::kAll, Cause::kOwn);
}

}  // namespace bondd::control
