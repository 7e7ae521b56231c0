#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <future>
#include <thread>

#include "bondd/control/control_server.h"
#include "bondd/control/event_loop.h"
#include "bondd/control/openvpn_words.h"
#include "bondd/control/replay_watch.h"
#include "bondd/control/resolver.h"
#include "bondd/ipc/control_client.h"
#include "tests/support/fake_host.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

TEST(EventLoop, TimersRunInOrderAndCanBeCancelledByEachOther) {
  auto loop = EventLoop::create().value();
  std::string order;
  Registration later = loop->after(20ms, [&] { order += "c"; });
  const Registration first = loop->after(1ms, [&] {
    order += "a";
    later.cancel();
  });
  const Registration second = loop->after(5ms, [&] { order += "b"; });
  const Registration last = loop->after(40ms, [&] { loop->quit(); });
  loop->run();
  EXPECT_EQ(order, "ab");
}

TEST(EventLoop, AWatchMayEndItselfFromWithin) {
  auto loop = EventLoop::create().value();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  int calls = 0;
  Registration watch = loop->watch(reader.get(), EPOLLIN, [&](std::uint32_t) {
    ++calls;
    watch.cancel();
  });
  ASSERT_EQ(write(writer.get(), "x", 1), 1);
  loop->turn(100ms);
  loop->turn(1ms);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, CallsFromOtherThreadsRunOnTheLoop) {
  auto loop = EventLoop::create().value();
  const auto home = std::this_thread::get_id();
  std::thread::id ran;
  std::thread other([&] {
    loop->post([&] {
      ran = std::this_thread::get_id();
      loop->quit();
    });
  });
  loop->run();
  other.join();
  EXPECT_EQ(ran, home);
}

TEST(EventLoop, SignalsArriveAsCalls) {
  auto loop = EventLoop::create().value();
  int got = 0;
  ASSERT_TRUE(loop->watch_signals({SIGUSR1}, [&](int signal) { got = signal; }).has_value());
  raise(SIGUSR1);
  loop->turn(100ms);
  EXPECT_EQ(got, SIGUSR1);
}

Resolver::Answer take_all(const std::vector<IpAddress>& addresses) {
  return addresses;
}

TEST(Resolver, ANumericAddressIsItselfAtOnce) {
  auto loop = EventLoop::create().value();
  Resolver resolver(*loop);
  std::vector<IpAddress> got;
  resolver.start("203.0.113.10", 1s, {}, take_all,
                 [&](Result<std::vector<IpAddress>> answer) { got = answer.value(); });
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(to_string(got.front()), "203.0.113.10");
}

TEST(Resolver, ANameThatDoesNotResolveIsNamed) {
  auto loop = EventLoop::create().value();
  Resolver resolver(*loop);
  std::string message;
  resolver.start("vps.example.invalid", 5s, {}, take_all, [&](Result<std::vector<IpAddress>> answer) {
    message = answer ? "resolved" : answer.error().message;
    loop->quit();
  });
  loop->run();
  EXPECT_THAT(message, ::testing::HasSubstr("vps.example.invalid does not resolve"));
}

// What a resolver with these two lookups says.
std::string ask(const Resolver::Lookup& system, const Resolver::Lookup& other_way, Duration limit = 10min,
                const Resolver::Judge& judge = take_all) {
  auto loop = EventLoop::create().value();
  Resolver resolver(*loop, system);
  std::string said;
  resolver.start("vps.example", limit, other_way, judge, [&](const Resolver::Answer& answer) {
    said = answer ? to_string(answer->front()) : answer.error().message;
    loop->quit();
  });
  loop->run();
  return said;
}
Resolver::Lookup finds(const char* address) {
  return [=](const std::string&) { return std::vector{parse_ip(address).value()}; };
}
Resolver::Lookup fails(const char* why) {
  return [=](const std::string&) -> Resolver::Answer { return failure(why); };
}

// A lookup that ends when this goes.
class Hang {
 public:
  ~Hang() { release_.set_value(); }
  [[nodiscard]] Resolver::Lookup lookup() const {
    return [released = released_](const std::string&) -> Resolver::Answer {
      released.wait();
      return failure("too late");
    };
  }

 private:
  std::promise<void> release_;
  std::shared_future<void> released_ = release_.get_future().share();
};

TEST(Resolver, TheSystemHasTheFirstWord) {
  EXPECT_EQ(ask(finds("203.0.113.10"), finds("203.0.113.20")), "203.0.113.10");
  EXPECT_EQ(ask(fails("no such name"), {}), "no such name");
}

TEST(Resolver, AsksTheOtherWayWhenTheSystemFails) {
  EXPECT_EQ(ask(fails("no such name"), finds("203.0.113.20")), "203.0.113.20");
  EXPECT_EQ(ask(fails("no such name"), fails("nor here")), "no such name");
}

TEST(Resolver, AnAnswerWithoutUseIsAFailure) {
  const auto judge = [](const std::vector<IpAddress>& addresses) -> Resolver::Answer {
    if (addresses.front().is_unspecified()) return failure("0.0.0.0 is of no use");
    return addresses;
  };
  EXPECT_EQ(ask(finds("0.0.0.0"), finds("203.0.113.20"), 10min, judge), "203.0.113.20");
  EXPECT_EQ(ask(fails("no such name"), finds("0.0.0.0"), 10min, judge), "0.0.0.0 is of no use");
  EXPECT_EQ(ask(finds("0.0.0.0"), fails("nor here"), 10min, judge), "0.0.0.0 is of no use");
  EXPECT_EQ(ask(finds("0.0.0.0"), {}, 10min, judge), "0.0.0.0 is of no use");
}

TEST(Resolver, AsksTheOtherWayWhenTheSystemIsSilent) {
  const Hang hang;
  EXPECT_EQ(ask(hang.lookup(), finds("203.0.113.20")), "203.0.113.20");
}

TEST(Resolver, AFailureOfTheSystemDoesNotWaitForTheOtherWayForEver) {
  const Hang hang;
  EXPECT_EQ(ask(fails("no such name"), hang.lookup()), "no such name");
}

TEST(Resolver, GivesUpInTimeWhenAllAreSilent) {
  const Hang hang;
  EXPECT_THAT(ask(hang.lookup(), hang.lookup(), 1500ms), ::testing::HasSubstr("within 1500ms"));
}

TEST(ControlSocket, AnswersRequestsAndDropsNonsense) {
  const testing::TemporaryDir root;
  auto loop = EventLoop::create().value();
  const auto path = root.path() / "control.sock";
  auto server = ControlServer::listen(
      *loop, path,
      [&](const ipc::Request& request, std::uint64_t) {
        return ipc::Reply{
            true, {request.command == ipc::Command::kReload ? "reload " + request.file : "other"}, {}};
      },
      [](std::uint64_t) {});
  ASSERT_TRUE(server.has_value()) << server.error().message;
  std::thread client([&] {
    const auto reply = ipc::ask(path, {ipc::Command::kReload, "/etc/x.toml"}, 2s);
    EXPECT_THAT(reply.value_or(ipc::Reply{}).messages, ::testing::ElementsAre("reload /etc/x.toml"));
    auto fd = ipc::connect_control(path);
    EXPECT_TRUE(fd.has_value());
    EXPECT_EQ(write(fd->get(), "\x80{nonsense\n", 11), 11);
    const auto after = ipc::ask(fd->get(), {ipc::Command::kStatus, {}}, 2s);
    EXPECT_FALSE(after.value_or(ipc::Reply{}).ok);
    loop->post([&] { loop->quit(); });
  });
  loop->run();
  client.join();
}

TEST(ControlSocket, TellsWhoListensAndLetsGoOfWhoDoesNotRead) {
  const testing::TemporaryDir root;
  auto loop = EventLoop::create().value();
  const auto path = root.path() / "control.sock";
  auto server = ControlServer::listen(
      *loop, path, [](const ipc::Request&, std::uint64_t) { return ipc::Reply{}; }, [](std::uint64_t) {});
  ASSERT_TRUE(server.has_value()) << server.error().message;
  const auto ask_for = [&](int fd, const std::string& command) {
    const std::string line = R"({"command":")" + command + "\"}\n";
    EXPECT_EQ(write(fd, line.data(), line.size()), static_cast<ssize_t>(line.size()));
    for (int i = 0; i < 5; ++i) loop->turn(10ms);
    std::array<char, 200> answer{};
    return std::string(answer.data(), static_cast<std::size_t>(std::max<ssize_t>(
                                          0, recv(fd, answer.data(), answer.size(), MSG_DONTWAIT))));
  };
  auto asks = ipc::connect_control(path).value();
  auto listens = ipc::connect_control(path).value();
  EXPECT_THAT(ask_for(asks.get(), "status"), ::testing::HasSubstr("\"ok\":true"));
  EXPECT_FALSE((*server)->has_listeners());
  EXPECT_THAT(ask_for(listens.get(), "monitor"), ::testing::HasSubstr("\"ok\":true"));
  EXPECT_TRUE((*server)->has_listeners());
  (*server)->tell("an event");
  std::array<char, 200> told{};
  EXPECT_EQ(recv(listens.get(), told.data(), told.size(), MSG_DONTWAIT), 9);
  EXPECT_EQ(recv(asks.get(), told.data(), told.size(), MSG_DONTWAIT), -1) << "it did not ask for events";
  for (int i = 0; i < 100'000 && (*server)->has_listeners(); ++i) (*server)->tell(std::string(1000, 'x'));
  EXPECT_FALSE((*server)->has_listeners());
}

TEST(StatusJson, IsTheContractsAndReadsBack) {
  model::SiteStatus site;
  site.name = "office";
  site.role = "client";
  site.backend = "openvpn-bond";
  site.state = model::SiteState::kDegraded;
  site.bond_interface = "bond0";
  site.bond_rx_bytes = 5;
  site.bond_peer = "172.16.16.1";
  model::WanStatus wan;
  wan.name = "ovh";
  wan.state = model::WanState::kUp;
  wan.rtt_ms = 41.25;
  wan.tx_bytes = 7;
  site.wans = {wan};
  const std::string json = ipc::status_json(site);
  EXPECT_THAT(
      json,
      ::testing::StartsWith(
          R"({"name":"office","role":"client","backend":"openvpn-bond","state":"degraded",)"
          R"("bond":{"interface":"bond0","rx_bytes":5,"tx_bytes":null,"peer":"172.16.16.1"},"wans":[{"name":"ovh",)"
          R"("state":"up","reason":"","rtt_ms":41.25,"loss_percent":null,"rx_bytes":null,"tx_bytes":7)"));
  const auto back = ipc::parse_status(json);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(ipc::status_json(*back), json);
  EXPECT_FALSE(ipc::parse_status("[1]").has_value());
}

TEST(StatusJson, HasProblemsTimesAndEveryFigureOfTheEngine) {
  model::SiteStatus site;
  site.version = "0.2.0";
  site.since = 1'796'000'000;
  site.problems.push_back(
      {"gateway-silent", model::Severity::kError, "lte", "text", "remedy", 1'796'000'060});
  model::WanStatus wan;
  wan.queue_ms = 4;
  wan.tx_loss_percent = 0.5;
  wan.repaired = 7;
  wan.today_rx_bytes = 9;
  wan.since = 1'796'000'000;
  site.wans = {wan};
  const std::string json = ipc::status_json(site);
  for (const char* part :
       {R"("version":"0.2.0")", R"("since":"2026-11-30T00:53:20Z")", R"("queue_ms":4)",
        R"("tx_loss_percent":0.5)", R"("repaired":7)", R"("today_rx_bytes":9)", R"("today_tx_bytes":null)",
        R"("capacity_mbit":null)",
        R"({"code":"gateway-silent","severity":"error","wan":"lte","text":"text","remedy":"remedy",)"
        R"("since":"2026-11-30T00:54:20Z"})"}) {
    EXPECT_THAT(json, ::testing::HasSubstr(part));
  }
  EXPECT_EQ(ipc::parse_status(json), site);
}

TEST(OpenVpnWords, SayWhatAnAdminCanDo) {
  EXPECT_THAT(complaint_in("2026-11-20 Authenticate/Decrypt packet error: packet HMAC authentication failed")
                  .value()
                  .words,
              ::testing::HasSubstr("compare the key files"));
  EXPECT_FALSE(complaint_in("Initialization Sequence Completed").has_value());
}

// Anybody can send such packets: they never hide what is known for sure.
TEST(OpenVpnWords, PacketsWithoutTheTlsCryptKeyProveNothing) {
  const Complaint stranger = *complaint_in("tls-crypt unwrap error: packet too short");
  EXPECT_THAT(stranger.words, ::testing::HasSubstr("tls_crypt = \"off\""));
  Complaints complaints;
  const TimePoint start{std::chrono::hours(1)};
  const Complaint other = *complaint_in("VERIFY ERROR: depth=0");
  complaints.handle(start, other);
  EXPECT_FALSE(complaints.handle(start, stranger));
  EXPECT_EQ(complaints.counts(start), other);
}

// The other end's openvpn is started a moment later than ours, or anew: the kernel there refuses packets.
TEST(OpenVpnWords, ARefusalDoesNotHideThatTheKeysDiffer) {
  const TimePoint start{std::chrono::hours(1)};
  const Complaint key = *complaint_in("Authenticate/Decrypt packet error: packet HMAC authentication failed");
  const Complaint refused = *complaint_in("read UDPv4 [ECONNREFUSED]: Connection refused (code=111)");
  Complaints complaints;
  EXPECT_TRUE(complaints.handle(start, refused));
  EXPECT_EQ(complaints.counts(start), refused);
  EXPECT_TRUE(complaints.handle(start + std::chrono::seconds(1), key)) << "it proves more";
  EXPECT_FALSE(complaints.handle(start + std::chrono::seconds(2), refused));
  EXPECT_EQ(complaints.counts(start + std::chrono::minutes(5)), key) << "openvpn mutes what it says again";
  complaints.handle_restart(start + std::chrono::minutes(5));
  EXPECT_EQ(complaints.counts(start + std::chrono::minutes(5)), key) << "the handshake comes again soon";
  EXPECT_EQ(complaints.counts(start + std::chrono::minutes(7)), std::nullopt);
}

TEST(OpenVpnWords, WhatIsNotSaidAgainIsOver) {
  const TimePoint start{std::chrono::hours(1)};
  Complaints complaints;
  complaints.handle(start, *complaint_in("No route to host"));
  EXPECT_TRUE(complaints.counts(start + kComplaintLife / 2).has_value());
  EXPECT_FALSE(complaints.counts(start + kComplaintLife).has_value());
}

TEST(ReplayWatch, OnlyReplaysForSomeTimeAskForANewStart) {
  const std::string line =
      "Authenticate/Decrypt packet error: bad packet ID (may be a replay): [ #28 / time = (1795999000) ] -- "
      "see the "
      "man page";
  EXPECT_TRUE(is_replay(line));
  EXPECT_FALSE(is_replay("Authenticate/Decrypt packet error: packet HMAC authentication failed"));
  ReplayWatch watch;
  const TimePoint start{std::chrono::hours(1)};
  for (unsigned i = 0; i < kReplaysEnough; ++i) watch.handle_replay(start, "tap0-ovh");
  EXPECT_FALSE(watch.poll_restart(start + kReplaysOnly / 2, "tap0-ovh"));
  EXPECT_FALSE(watch.poll_restart(start + kReplaysOnly, "tap0-lte"));
  EXPECT_TRUE(watch.poll_restart(start + kReplaysOnly, "tap0-ovh"));
  EXPECT_FALSE(watch.poll_restart(start + kReplaysOnly, "tap0-ovh"));
}

// As OpenVPN 2.6.14 with `mute 10` writes them: three lines, and then nothing for as long as it lasts.
TEST(ReplayWatch, TheFewLinesThatOpenVpnWritesAreEnough) {
  ReplayWatch watch;
  const TimePoint start{std::chrono::hours(1)};
  for (int i = 0; i < 3; ++i) watch.handle_replay(start + std::chrono::milliseconds(100) * i, "tap0-ovh");
  EXPECT_TRUE(watch.poll_restart(start + std::chrono::seconds(4), "tap0-ovh"));
}

TEST(ReplayWatch, WhoReplaysOldPacketsCausesFewStarts) {
  ReplayWatch watch;
  TimePoint now{std::chrono::hours(1)};
  int starts = 0;
  for (int second = 0; second < 3600; ++second, now += std::chrono::seconds(1)) {
    for (int i = 0; i < 100; ++i) watch.handle_replay(now, "tap0-ovh");
    if (watch.poll_restart(now, "tap0-ovh")) ++starts;
  }
  EXPECT_LE(starts, 16);
  watch.handle_carries("tap0-ovh");
  EXPECT_FALSE(watch.poll_restart(now, "tap0-ovh"));
}

}  // namespace
}  // namespace bondd::control
