#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "bondd/ipc/engine_protocol.h"
#include "bondd/ipc/fd_channel.h"

namespace bondd::ipc {
namespace {

using namespace std::chrono_literals;

TEST(FdChannel, CarriesTextAndDescriptorsInOneMessage) {
  auto pair = FdChannel::make_pair();
  ASSERT_TRUE(pair);
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  const UniqueFd reader(pipe_ends[0]);
  const UniqueFd writer(pipe_ends[1]);
  ASSERT_TRUE(pair->first.send("hello", std::array{reader.get()}));
  auto message = pair->second.receive();
  ASSERT_TRUE(message && *message);
  EXPECT_EQ((*message)->text, "hello");
  ASSERT_EQ((*message)->fds.size(), 1U);
  ASSERT_EQ(write(writer.get(), "x", 1), 1);
  char got = 0;
  EXPECT_EQ(read((*message)->fds[0].get(), &got, 1), 1);
  EXPECT_EQ(got, 'x');
}

TEST(FdChannel, SaysThatThereIsNothingAndThatTheOtherEndIsGone) {
  auto pair = FdChannel::make_pair();
  ASSERT_TRUE(pair);
  const auto nothing = pair->second.receive();
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(*nothing);
  { const FdChannel gone = std::move(pair->first); }
  const auto failed = pair->second.receive();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EPIPE);
  EXPECT_EQ(pair->second.send("x").error().code, EPIPE);
}

EngineLink full_link() {
  return {.name = "ovh",
          .remote = EngineEndpoint{*parse_ip("2001:db8::1"), 1194},
          .upload = Rate{20'000'000},
          .weight = 2.5,
          .fallback_only = true,
          .timeout = 7s,
          .loss_tolerance = 25,
          .latency_tolerance = 300ms};
}

TEST(EngineProtocol, EveryRequestComesBackAsItWas) {
  const EngineLink plain{.name = "orange"};
  const std::vector<EngineRequest> requests{
      EngineStart{
          true, true, false, model::MlvpnPeer::kBondd, true, false, false, 50ms, {full_link(), plain}},
      EngineAddLink{full_link()},
      EngineUpdateLink{plain},
      EngineRemoveLink{"ovh"},
      EngineReplaceSocket{"ovh"},
      EngineSetRemote{"ovh", {*parse_ip("192.0.2.1"), 5080}},
      EngineSetPassword{},
      EngineSetNotice{"bondd-settings 1\nrole client"},
      EngineGetStatus{},
      EngineStop{}};
  for (const EngineRequest& request : requests) {
    const auto back = parse_request(render(request));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, request) << render(request);
  }
}

TEST(EngineProtocol, EveryReportComesBackAsItWas) {
  EngineStatus status;
  EngineLinkStatus link{.peer = EngineEndpoint{*parse_ip("192.0.2.1"), 9}, .rtt_var_ms = 1.5};
  link.wan.name = "ovh";
  link.wan.state = model::WanState::kSlow;
  link.wan.rtt_ms = 12.5;
  link.wan.tx_loss_percent = 0.5;
  link.wan.queue_ms = 3;
  link.wan.repaired = 7;
  link.peer_rest_ms = 25'000;
  link.wan.protection = model::Protection::kSession;
  link.wan.key_age_s = 12.5;
  status.links.push_back(link);
  status.counters.bad_mac = 3;
  const std::vector<EngineReport> reports{
      EngineReady{"avx512", "vnet", "seccomp"},
      EngineEvent{EngineEvent::Kind::kWrongPassword, "ovh", model::WanState::kDown,
                  model::WanState::kStarting, "packets do not open"},
      status, EngineFailure{"no", true}};
  for (const EngineReport& report : reports) {
    const auto back = parse_report(render(report));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, report) << render(report);
  }
}

TEST(EngineProtocol, RefusesWhatIsNoMessage) {
  for (const char* text : {"", "{", "[]", "{}", R"({"type":"dance"})", R"({"type":"add-link"})",
                           R"({"type":"set-remote","name":"a","remote":{"address":"x","port":1}})"}) {
    EXPECT_FALSE(parse_request(text)) << text;
  }
}

TEST(EngineProtocol, TextThatIsNoUtf8DoesNotThrow) {
  EXPECT_NE(render(EngineReport{EngineFailure{"\xff\xfe", false}}), "");
}

}  // namespace
}  // namespace bondd::ipc
