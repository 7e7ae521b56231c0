// `bondd speedtest` at either end; see speed_test.h.
#include <fmt/format.h>

#include "bondd/control/daemon.h"

namespace bondd::control {
namespace {

// Each begin costs a process and a pass over the firewall: a peer cannot have one after the other.
constexpr auto kGuestPause = std::chrono::seconds(5);

}  // namespace

ipc::Reply Daemon::speed_test(const ipc::Request& request, std::uint64_t connection) {
  const auto told = theirs();
  const problems::PeerSettings* const other = told ? &*told : nullptr;
  const bool begins = !speed_test_.runs();
  auto asked = speed_test_.ask(EventLoop::now(), connection, request.wan, options_.config, other);
  if (!asked) return {false, {asked.error().message}, {}};
  if (begins) log_.info("a speed test begins");
  follow_speed_test();
  return {true, {}, ipc::render(speed_test_.now(EventLoop::now(), options_.config, other, drained_.alone()))};
}

void Daemon::speed_test_closed(std::uint64_t connection) {
  if (!speed_test_.close(connection)) return;
  log_.info("the speed test has ended");
  follow_speed_test();
}

// Of what the command here and the other end ask for: the responder, its hole in the firewall, the WAN that
// carries alone; and the other end is told at once.
void Daemon::follow_speed_test() {
  if (stopping_ || !diagnosis_ || !brought_up_) return;
  if (speed_test_.expire(EventLoop::now())) log_.warning("the speed test stood still, and was ended");
  const auto told = theirs();
  follow_speed_test_guest(told ? &*told : nullptr);
  SpeedTestTold now;
  now.asks = speed_test_.asks();
  now.answer = speed_test_answer();
  std::string there;
  for (const model::Wan& wan : options_.config.wans) {
    if (now.answer && wan.port == now.answer->wan_port) there = wan.name;
  }
  now.alone = speed_test_.runs() ? speed_test_.wan() : there;
  if (now == speed_test_told_) return;
  speed_test_told_ = now;
  drained_.set_alone(speed_test_.wan(), there);
  follow_drained(measured_wans({}));
  diagnose();
}

void Daemon::follow_speed_test_guest(const problems::PeerSettings* told) {
  const auto& wished = told != nullptr ? told->speed_test : std::nullopt;
  const std::string has = speed_test_guest_ ? speed_test_guest_->token() : "";
  std::string wants = wished && wished->token != speed_test_spent_ ? wished->token : "";
  // A new one waits for its turn; the next look comes within a second.
  if (wants != has && EventLoop::now() < speed_test_next_) wants.clear();
  if (has == wants) return;
  speed_test_guest_.reset();
  if (!wants.empty()) {
    speed_test_next_ = EventLoop::now() + kGuestPause;
    auto guest = SpeedTestGuest::start(loop_, options_.config, wants, options_.programs.user, [this] {
      speed_test_spent_ = speed_test_guest_->token();
      follow_speed_test();
    });
    if (guest) {
      speed_test_guest_ = std::move(*guest);
    } else {
      speed_test_spent_ = wants;
      log_.warning(fmt::format("the other end's speed test is not answered: {}", guest.error().message));
    }
  }
  if (has.empty() != !speed_test_guest_)
    log_.info(speed_test_guest_ ? "a speed test of the other end begins"
                                : "the other end's speed test has ended");
  reconciler_->set_speed_test_port(speed_test_guest_ ? speed_test_guest_->port() : 0);
  run_pass(Depth::kAll, Cause::kOwn);
}

std::optional<problems::PeerSettings::SpeedTestReady> Daemon::speed_test_answer() const {
  const auto told = theirs();
  if (!speed_test_guest_ || !told || !told->speed_test) return std::nullopt;
  return problems::PeerSettings::SpeedTestReady{speed_test_guest_->port(), told->speed_test->wan_port,
                                                problems::speed_test_name(speed_test_guest_->token())};
}

}  // namespace bondd::control
