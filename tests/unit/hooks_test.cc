// [hooks]: for what the program is run, with which words, and how it is run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "bondd/base/file.h"
#include "bondd/control/hook_events.h"
#include "bondd/control/hook_runner.h"

namespace bondd::control {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using model::SiteState;
using model::WanState;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Two WANs, in seconds of injected time.
class HookEventsTest : public ::testing::Test {
 protected:
  HookEventsTest() {
    site_.name = "office";
    for (const char* name : {"dsl", "lte"}) site_.wans.emplace_back().name = name;
    hooks_.run = "/etc/bondd/hook";
  }
  // "word wan" of each call after `seconds` more, one look a second.
  std::vector<std::string> after(int seconds) {
    std::vector<std::string> out;
    for (int i = 0; i < seconds; ++i) {
      now_ += 1s;
      for (const HookCall& call : events_.update(now_, 1'800'000'000, hooks_, site_))
        out.push_back(call.word + " " + call.event.wan);
    }
    return out;
  }
  void set(WanState dsl, WanState lte) {
    site_.wans[0].state = dsl;
    site_.wans[1].state = lte;
    site_.state = model::site_state(site_.wans);
  }

  model::Hooks hooks_;
  model::SiteStatus site_;
  HookEvents events_;
  TimePoint now_{1h};
};

TEST_F(HookEventsTest, SaysMlvpnsWordsInItsOrder) {
  set(WanState::kStarting, WanState::kStarting);
  EXPECT_THAT(after(1), IsEmpty()) << "nothing is up yet";
  set(WanState::kUp, WanState::kStarting);
  EXPECT_THAT(after(1), ElementsAre("rtun_up dsl", "tuntap_up "));
  set(WanState::kUp, WanState::kUp);
  EXPECT_THAT(after(1), ElementsAre("rtun_up lte", "bond_up "));
  set(WanState::kUp, WanState::kSilent);
  EXPECT_THAT(after(1), ElementsAre("rtun_down lte", "bond_degraded "));
  set(WanState::kDown, WanState::kSilent);
  EXPECT_THAT(after(1), ElementsAre("rtun_down dsl", "tuntap_down "));
  EXPECT_THAT(after(60), IsEmpty());
}

TEST_F(HookEventsTest, TellsWhatIsUpWhenItBegins) {
  set(WanState::kUp, WanState::kDown);
  EXPECT_THAT(after(1), ElementsAre("rtun_up dsl", "tuntap_up "));
}

TEST_F(HookEventsTest, StatesThatMlvpnDoesNotKnowHaveWordsOfTheirOwn) {
  set(WanState::kUp, WanState::kUp);
  after(1);
  set(WanState::kUp, WanState::kDrained);
  EXPECT_THAT(after(1), Contains("wan_drained lte"));
  set(WanState::kUp, WanState::kUp);
  EXPECT_THAT(after(1), Contains("wan_up lte"));
  site_.problems.push_back({"line-lossy", model::Severity::kWarning, "lte", "2 % packet loss", "", 7});
  EXPECT_THAT(after(1), ElementsAre("problem lte"));
  site_.problems.clear();
  EXPECT_THAT(after(1), ElementsAre("problem_over lte"));
}

TEST_F(HookEventsTest, ALineAtItsLimitDoesNotCallAgainAndAgain) {
  hooks_.loss_above = 5;
  set(WanState::kUp, WanState::kUp);
  after(1);
  for (int i = 0; i < 20; ++i) {  // for 5 s each: a burst is no trouble
    site_.wans[1].loss_percent = i % 2 == 0 ? 9.0 : 0.0;
    EXPECT_THAT(after(5), IsEmpty());
  }
  site_.wans[1].loss_percent = 0.0;
  site_.wans[1].tx_loss_percent = 9.0;
  EXPECT_THAT(after(12), ElementsAre("wan_loss lte")) << "either way counts";
  site_.wans[1].tx_loss_percent = 4.9;
  EXPECT_THAT(after(60), IsEmpty()) << "below the limit, but not well below";
  site_.wans[1].tx_loss_percent = 1.0;
  EXPECT_THAT(after(29), IsEmpty());
  EXPECT_THAT(after(3), ElementsAre("wan_loss_over lte"));
}

TEST_F(HookEventsTest, LatencyOfALineThatDiesIsForgotten) {
  hooks_.latency_above = 300ms;
  set(WanState::kUp, WanState::kUp);
  after(1);
  site_.wans[0].rtt_ms = 400.0;
  EXPECT_THAT(after(12), ElementsAre("wan_latency dsl"));
  set(WanState::kSilent, WanState::kUp);
  after(1);
  set(WanState::kUp, WanState::kUp);
  EXPECT_THAT(after(12), Contains("wan_latency dsl")) << "it is said anew";
}

TEST(Hooks, TheProgramIsToldAllThatMlvpnsScriptsRead) {
  model::Config config;
  config.site = "office";
  config.bond.interface = "bond0";
  config.bond.address = *parse_prefix("172.16.16.2/30");
  config.bond.peer = *parse_ip("172.16.16.1");
  config.through_bond = {*parse_prefix("10.0.0.0/8"), *parse_prefix("192.168.7.0/24")};
  HookCall call{"rtun_down", {}};
  call.event.wan = "lte";
  call.event.from = "up";
  call.event.to = "silent";
  call.event.reason = "a word\nof the\x1b[31m peer";
  call.event.time = 1'800'000'000;
  EXPECT_THAT(hook_arguments(config, call), ElementsAre("bond0", "rtun_down", "lte"));
  EXPECT_THAT(
      hook_environment(config, 1424, call),
      ElementsAre("IP4=172.16.16.2/30", "IP4_GATEWAY=172.16.16.1", "IP4_ROUTES=10.0.0.0/8 192.168.7.0/24",
                  "IP6=", "IP6_GATEWAY=", "IP6_ROUTES=", "DEVICE=bond0", "MTU=1424", "BONDD_SITE=office",
                  "BONDD_EVENT=rtun_down", "BONDD_WAN=lte", "BONDD_FROM=up", "BONDD_TO=silent",
                  "BONDD_REASON=a word?of the?[31m peer", "BONDD_TIME=1800000000"));
  call = {"tuntap_down", {}};
  EXPECT_THAT(hook_arguments(config, call), ElementsAre("bond0", "tuntap_down"));
}

class Lines : public Log {
 public:
  void info(std::string_view line) override { all.emplace_back(line); }
  void warning(std::string_view line) override { all.emplace_back("warning: " + std::string(line)); }
  void error(std::string_view line) override { all.emplace_back("error: " + std::string(line)); }
  void detail(std::string_view /*line*/) override {}
  void leave_terminal() override {}
  std::vector<std::string> all;
};

class HookRunnerTest : public ::testing::Test {
 protected:
  HookRunnerTest() {
    std::string name = (fs::temp_directory_path() / "bondd-hooks-XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
  }
  ~HookRunnerTest() override { fs::remove_all(dir_); }

  // A shell script, run with `arguments`.
  void add(const std::string& script, std::vector<std::string> arguments = {}, Duration timeout = 20s) {
    const fs::path file = dir_ / fmt_name();
    std::ofstream(file) << "#!/bin/sh\n" << script;
    fs::permissions(file, fs::perms::owner_all);
    HookRunner::Run run;
    run.argv = std::move(arguments);
    run.argv.insert(run.argv.begin(), file.string());
    run.environment = {"BONDD_WAN=lte"};
    run.timeout = timeout;
    run.on_end = [this](const HookRunner::Outcome& outcome) { ended_.push_back(outcome); };
    runner_.add(std::move(run));
  }
  void run_until_ended(std::size_t count) {
    const TimePoint limit = EventLoop::now() + 30s;
    while (ended_.size() < count && EventLoop::now() < limit) loop_->turn(100ms);
  }
  std::string fmt_name() { return "hook" + std::to_string(files_++); }

  fs::path dir_;
  int files_ = 0;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
  Lines log_;
  std::vector<HookRunner::Outcome> ended_;
  HookRunner runner_{*loop_, log_};
};

TEST_F(HookRunnerTest, RunsOneAfterTheOtherWithArgumentsAndEnvironment) {
  add("sleep 0.2; echo \"$1 $BONDD_WAN $HOME\"", {"rtun_up"});
  add("echo second >&2; exit 3");
  run_until_ended(2);
  ASSERT_THAT(ended_, SizeIs(2));
  EXPECT_TRUE(ended_[0].ok);
  EXPECT_THAT(ended_[0].output, ElementsAre("rtun_up lte ")) << "and nothing of bondd's own environment";
  EXPECT_FALSE(ended_[1].ok);
  EXPECT_THAT(ended_[1].output, ElementsAre("second"));
  EXPECT_THAT(ended_[1].ended, HasSubstr("exit status 3 after 0."));
  EXPECT_THAT(log_.all,
              Contains(HasSubstr("warning: hook " + (dir_ / "hook1").string() + ": exit status 3")));
}

TEST_F(HookRunnerTest, KillsWhatHangsWithAllThatItStarted) {
  add("sleep 1000 & echo $! > " + (dir_ / "pid").string() + "; wait", {}, 300ms);
  add("echo next");
  run_until_ended(2);
  ASSERT_THAT(ended_, SizeIs(2));
  EXPECT_THAT(ended_[0].ended, HasSubstr("killed: it did not end within 300ms"));
  EXPECT_THAT(ended_[1].output, ElementsAre("next"));
  const auto pid = static_cast<pid_t>(std::stol(*read_file(dir_ / "pid")));
  for (int i = 0; i < 100 && ::kill(pid, 0) == 0; ++i) ::usleep(20'000);  // until it is reaped
  EXPECT_NE(::kill(pid, 0), 0) << "the script's child lives";
}

TEST_F(HookRunnerTest, AChildThatKeepsTheOutputOpenHoldsNothingUp) {
  add("sleep 5 & echo done");
  run_until_ended(1);
  ASSERT_THAT(ended_, SizeIs(1));
  EXPECT_THAT(ended_[0].output, ElementsAre("done"));
}

TEST_F(HookRunnerTest, WhatCannotBeRunIsSaidAndTheNextOneIsRun) {
  HookRunner::Run run;
  run.argv = {(dir_ / "nothing").string()};
  run.timeout = 1s;
  runner_.add(std::move(run));
  add("echo next");
  run_until_ended(1);
  ASSERT_THAT(ended_, SizeIs(1));
  EXPECT_THAT(log_.all, Contains(HasSubstr("No such file")));
}

TEST_F(HookRunnerTest, OfAFloodOfChangesOnlySomeWait) {
  for (std::size_t i = 0; i < 3 * HookRunner::kMostWaiting; ++i) add("exit 0");
  run_until_ended(HookRunner::kMostWaiting + 1);
  EXPECT_THAT(ended_, SizeIs(HookRunner::kMostWaiting + 1));
  EXPECT_THAT(log_.all, Contains(HasSubstr("hooks wait already")).Times(1));
  add("exit 0");
  run_until_ended(HookRunner::kMostWaiting + 2);
  EXPECT_THAT(ended_, SizeIs(HookRunner::kMostWaiting + 2));
}

TEST_F(HookRunnerTest, OutputWithoutEndFillsNoMemory) {
  add("yes '\033[31mred' | head -n 100000");
  run_until_ended(1);
  ASSERT_THAT(ended_, SizeIs(1));
  EXPECT_THAT(ended_[0].output, SizeIs(testing::Le(HookRunner::kMostShown)));
  EXPECT_THAT(ended_[0].output, Each(Not(HasSubstr("\033"))));
}

}  // namespace
}  // namespace bondd::control
