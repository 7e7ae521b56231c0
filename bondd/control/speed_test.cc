#include "bondd/control/speed_test.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>

#include "bondd/base/inet.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

// After both ends have changed the WANs in use, until what is in flight has arrived; with openvpn-bond until
// a tap has left the kernel's bond (TapDrain), or is back in it.
constexpr Duration kSettleMlvpn = 300ms;
constexpr Duration kSettleOpenVpn = 4s;
constexpr int kBacklog = 8;  // more than a tester opens at once
// Each begin costs a process and a pass over the firewall: a peer cannot have one after the other.
constexpr auto kGuestPause = 5s;

Result<std::string> new_token() {
  std::array<std::uint8_t, problems::kSpeedTestToken / 2> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return errno_failure("getrandom");
  std::string out;
  for (const std::uint8_t byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

// Reached by nothing but the bond's device.
Result<UniqueFd> listen_in_bond(const model::Config& config) {
  if (!config.bond.address.address.is_v4()) return failure("the bond has no IPv4 address", EAFNOSUPPORT);
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_failure("socket");
  const sockaddr_in own = to_sockaddr(config.bond.address.address);
  const std::string& device = config.bond.interface;
  if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, device.c_str(),
                 static_cast<socklen_t>(device.size())) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    return errno_failure(fmt::format("cannot listen on {}", device));
  }
  return fd;
}

std::uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

}  // namespace

Result<> SpeedTestAsker::ask(TimePoint now, std::uint64_t connection, const std::string& wan,
                             const model::Config& config, const problems::PeerSettings* theirs) {
  if (test_ && test_->connection != connection) return failure("another `bondd speedtest` runs");
  if (theirs != nullptr && theirs->speed_test) return failure("a speed test runs at the other end");
  if (theirs != nullptr && !theirs->takes_speed_tests)
    return failure("the bondd at the other end is an earlier version; update it to measure the speed");
  const auto found = std::ranges::find(config.wans, wan, &model::Wan::name);
  if (!wan.empty() && found == config.wans.end())
    return failure(fmt::format("there is no WAN {} in the file", wan));
  if (!test_) {
    auto token = new_token();
    if (!token) return tl::make_unexpected(token.error());
    test_ = Test{connection, *token, wan, 0, now, now};
  }
  test_->asked = now;
  const std::uint16_t port = wan.empty() ? 0 : found->port;
  if (test_->wan != wan || test_->wan_port != port) test_->changed = now;
  test_->wan = wan;
  test_->wan_port = port;
  return {};
}

bool SpeedTestAsker::close(std::uint64_t connection) {
  if (!test_ || test_->connection != connection) return false;
  test_.reset();
  return true;
}

bool SpeedTestAsker::expire(TimePoint now) {
  if (!test_ || now - test_->asked < kLease) return false;
  test_.reset();
  return true;
}

std::optional<problems::PeerSettings::SpeedTest> SpeedTestAsker::asks() const {
  if (!test_) return std::nullopt;
  return problems::PeerSettings::SpeedTest{test_->token, test_->wan_port};
}

ipc::SpeedTestNow SpeedTestAsker::now(TimePoint now, const model::Config& config,
                                      const problems::PeerSettings* theirs, const std::string& alone) const {
  ipc::SpeedTestNow out;
  out.address = to_string(config.bond.address.address);
  for (const model::Wan& wan : config.wans) {
    if (wan.fallback_only) out.metered.emplace_back(wan.name, "fallback_only");
  }
  if (!test_) return out;
  out.token = test_->token;
  const bool openvpn = config.backend == model::Backend::kOpenVpnBond;
  const auto& answer = theirs != nullptr ? theirs->speed_test_ready : std::nullopt;
  const bool answered = answer && answer->test == problems::speed_test_name(test_->token);
  if (answered) out.port = answer->listens;
  if (theirs == nullptr) {
    out.why_not_yet = "the other end has told nothing; an original MLVPN or an early bondd never does";
  } else if (!answered) {
    out.why_not_yet = "the other end does not answer";
  } else if (answer->wan_port != test_->wan_port || alone != test_->wan) {
    out.why_not_yet =
        fmt::format("the other end does not send by {} alone", test_->wan.empty() ? "all WANs" : test_->wan);
  } else if (now - test_->changed < (openvpn ? kSettleOpenVpn : kSettleMlvpn)) {
    out.why_not_yet = "what is in flight has not arrived yet";
  }
  out.ready = out.why_not_yet.empty();
  return out;
}

Result<std::unique_ptr<SpeedTestGuest>> SpeedTestGuest::start(EventLoop& loop, const model::Config& config,
                                                              const std::string& token,
                                                              const std::string& user,
                                                              std::function<void()> on_end) {
  auto listener = listen_in_bond(config);
  if (!listener) return tl::make_unexpected(listener.error());
  auto pair = ipc::FdChannel::make_pair();
  if (!pair) return tl::make_unexpected(pair.error());
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return failure("cannot find bondd's own program", error.value());
  std::vector<std::string> words{program.string(), "speedtest-responder"};
  if (!user.empty()) words.push_back(user);
  supervise::SpawnOptions options;
  options.input = pair->second.fd();
  options.writes_files = false;
  auto process = supervise::spawn(words, options);
  if (!process) return tl::make_unexpected(process.error());
  std::unique_ptr<SpeedTestGuest> guest(
      new SpeedTestGuest(token, port_of(listener->get()), std::move(pair->first), std::move(*process)));
  const int fd = listener->get();
  const std::string first = fmt::format("{} {}", token, to_string(config.bond.peer));
  if (auto sent = guest->channel_.send(first, std::span(&fd, 1)); !sent)
    return tl::make_unexpected(sent.error());
  guest->watch_ = loop.watch(guest->process_.pidfd.get(), EPOLLIN,
                             [on_end = std::move(on_end)](std::uint32_t) { on_end(); });
  return guest;
}

SpeedTestGuest::~SpeedTestGuest() {
  watch_.cancel();
  if (!supervise::send_signal(process_.pidfd.get(), SIGKILL)) return;  // it ends with its channel
  siginfo_t info{};
  waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(process_.pidfd.get()), &info, WEXITED);
}

SpeedTests::Wanted SpeedTests::wanted(const model::Config& config,
                                      const problems::PeerSettings* theirs) const {
  Wanted out{asker_.asks(), answer(theirs), asker_.wan(), ""};
  for (const model::Wan& wan : config.wans) {
    if (out.answer && wan.port == out.answer->wan_port) out.alone_there = wan.name;
  }
  return out;
}

bool SpeedTests::follow(Wanted now) {
  if (now == told_) return false;
  told_ = std::move(now);
  return true;
}

// A new one waits for its turn; the next look comes within a second.
std::string SpeedTests::wished(TimePoint now, const problems::PeerSettings* theirs) const {
  const auto& wish = theirs != nullptr ? theirs->speed_test : std::nullopt;
  const std::string wants = wish && wish->token != spent_ ? wish->token : "";
  return wants != answered() && now < next_ ? "" : wants;
}

std::optional<problems::PeerSettings::SpeedTestReady> SpeedTests::answer(
    const problems::PeerSettings* theirs) const {
  if (!guest_ || theirs == nullptr || !theirs->speed_test) return std::nullopt;
  return problems::PeerSettings::SpeedTestReady{guest_->port(), theirs->speed_test->wan_port,
                                                problems::speed_test_name(guest_->token())};
}

Result<> SpeedTests::begin_guest(EventLoop& loop, const model::Config& config, const std::string& token,
                                 const std::string& user, std::function<void()> on_end) {
  next_ = EventLoop::now() + kGuestPause;
  auto guest = SpeedTestGuest::start(loop, config, token, user, [this, on_end = std::move(on_end)] {
    spent_ = guest_->token();
    const auto end = on_end;  // it may end the guest, and this function with it
    end();
  });
  if (!guest) {
    spent_ = token;
    return tl::make_unexpected(guest.error());
  }
  guest_ = std::move(*guest);
  return {};
}

}  // namespace bondd::control
