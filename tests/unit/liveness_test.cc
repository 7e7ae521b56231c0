#include "bondd/control/liveness.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "bondd/control/tap_drain.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;

// One direction of one tunnel.
struct Line {
  Duration delay = 20ms, jitter{};
  double loss = 0;
  bool cut = false;
};

// Two ends, their tunnels and bonds, in simulated time. Data frames may flow beside the probes.
class World {
 public:
  struct End {
    std::unique_ptr<Liveness> live;
    bool runs = true;
    std::map<std::string, std::uint64_t> rx, tx;
    std::vector<TunnelChange> changes;
    std::set<std::string> dead;  // as last seen
    unsigned probes = 0;
    // How long it takes until the bond is as wanted.
    Duration pass{};
    std::set<std::string> members;  // taps in the bond
    std::optional<std::pair<TimePoint, std::set<std::string>>> next_members;
    TapDrain drain;
    std::set<std::string> drained;
    unsigned lost = 0;  // data frames that came out of a tap that is not in the bond
  };

  explicit World(unsigned tunnels = 2, TimePoint start = TimePoint(100s), bool sessions = false)
      : now_(start), sessions_(sessions) {
    for (unsigned i = 1; i <= tunnels; ++i)
      tunnels_.push_back({"tap" + std::to_string(i), "wan" + std::to_string(i)});
    for (int end = 0; end < 2; ++end) start_end(end);
    for (int end = 0; end < 2; ++end) {
      for (const Tunnel& t : tunnels_) lines_[end][t.tap] = Line{};
    }
  }

  void start_end(int end) {
    LivenessOptions options;
    options.role = end == 0 ? model::Role::kClient : model::Role::kServer;
    options.instance = ++instances_;
    options.sessions = sessions_;
    ends_[end].live = std::make_unique<Liveness>(options, now_);
    ends_[end].live->set_tunnels(now_, tunnels_);
    ends_[end].runs = true;
    for (const Tunnel& t : tunnels_) ends_[end].members.insert(t.tap);
    ends_[end].live->set_members(now_, ends_[end].members);
  }

  // From `end` to the other.
  Line& line(int end, const std::string& tap) { return lines_[end][tap]; }
  void cut(const std::string& tap, bool is_cut) { line(0, tap).cut = line(1, tap).cut = is_cut; }
  End& end(int i) { return ends_[i]; }
  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] TunnelState state(int i, const std::string& tap) const {
    return ends_[i].live->view(now_, tap).state;
  }

  void run(Duration time) {
    run_until(time, [] { return false; });
  }
  // Time until `done`, or `limit`.
  Duration run_until(Duration limit, const std::function<bool()>& done) {
    const TimePoint begin = now_;
    while (true) {
      step();
      if (done()) break;
      const TimePoint next = next_event();
      now_ = std::min(next, begin + limit);
      if (next >= begin + limit) break;
    }
    return now_ - begin;
  }

  std::set<std::string> stuck[2];  // whose openvpn stands still
  Duration data_every{};           // both directions, on every tap, while set

 private:
  struct Frame {
    int to;
    std::string tap;
    std::optional<std::array<std::uint8_t, kProbeSize>> payload;
  };

  void transmit(int from, const std::string& tap,
                std::optional<std::array<std::uint8_t, kProbeSize>> payload) {
    Line& line = lines_[from][tap];
    if (stuck[from].contains(tap)) return;  // stays in the tap
    if (without_carrier(ends_[from]).contains(tap)) return;
    if (!payload && !ends_[from].members.contains(tap)) return;
    ++ends_[from].tx[tap];
    if (line.cut || std::bernoulli_distribution(line.loss)(random_)) return;
    Duration delay = line.delay;
    if (line.jitter > 0ms) {
      const double sigma = static_cast<double>(line.jitter.count());
      delay += Duration(std::llround(std::abs(std::normal_distribution<>(0, sigma)(random_))));
    }
    flying_.emplace(now_ + delay, Frame{1 - from, tap, payload});
  }

  [[nodiscard]] TimePoint next_event() const {
    TimePoint next = now_ + 50ms;
    if (!flying_.empty()) next = std::min(next, flying_.begin()->first);
    if (data_every > 0ms)
      next = std::min(next, TimePoint((now_.time_since_epoch() / data_every + 1) * data_every));
    for (const End& end : ends_) {
      if (end.runs) next = std::min(next, end.live->poll_timeout());
      if (end.next_members) next = std::min(next, end.next_members->first);
    }
    return std::max(next, now_ + 1us);
  }

  void step() {
    while (!flying_.empty() && flying_.begin()->first <= now_) {
      const Frame frame = flying_.begin()->second;
      flying_.erase(flying_.begin());
      End& end = ends_[frame.to];
      if (stuck[frame.to].contains(frame.tap)) continue;
      ++end.rx[frame.tap];
      if (!frame.payload && !end.members.contains(frame.tap)) ++end.lost;
      if (end.runs && frame.payload) end.live->handle_probe(now_, frame.tap, *frame.payload);
    }
    const bool data = data_every > 0ms && (now_.time_since_epoch() % data_every) == 0ns;
    for (int i = 0; i < 2; ++i) {
      if (data) {
        for (const Tunnel& t : tunnels_) transmit(i, t.tap, std::nullopt);
      }
      End& end = ends_[i];
      if (!end.runs) continue;
      if (now_ >= end.live->poll_timeout()) {
        for (const Tunnel& t : tunnels_) end.live->handle_counters(now_, t.tap, end.rx[t.tap], end.tx[t.tap]);
        end.live->handle_timeout(now_);
      }
      while (const auto probe = end.live->poll_transmit(now_)) {
        ++end.probes;
        transmit(i, probe->tap, probe->payload);
      }
      while (const auto change = end.live->poll_change()) end.changes.push_back(*change);
      follow(end);
    }
  }

  static std::set<std::string> without_carrier(const End& end) {
    std::set<std::string> taps = end.drain.quiet();
    taps.merge(end.live->joining());
    return taps;
  }

  // As the backend and a pass do: the bond is as it was wanted when the pass began.
  void follow(End& end) {
    std::map<std::string, TapDrain::Use> wanted;
    for (const std::string& tap : end.drained)
      wanted[tap] = {end.live->peer_use(tap), end.members.contains(tap)};
    end.drain.update(now_, wanted);
    end.live->set_use(now_, end.drain.quiet(), end.drain.out());
    end.dead = end.live->dead();
    std::erase_if(end.dead, [&](const std::string& tap) { return end.drain.keeps(tap); });
    end.dead.merge(std::set<std::string>(end.drain.out()));
    if (end.next_members && now_ >= end.next_members->first) {
      end.members = end.next_members->second;
      end.next_members.reset();
      end.live->set_members(now_, end.members);
    }
    std::set<std::string> belong;
    for (const Tunnel& t : tunnels_) {
      if (!end.dead.contains(t.tap)) belong.insert(t.tap);
    }
    if (!end.next_members && belong != end.members) end.next_members.emplace(now_ + end.pass, belong);
  }

  TimePoint now_;
  bool sessions_;
  std::vector<Tunnel> tunnels_;
  End ends_[2];
  std::map<std::string, Line> lines_[2];
  std::multimap<TimePoint, Frame> flying_;
  std::mt19937_64 random_{1};
  std::uint32_t instances_ = 0;
};

TEST(Probe, IsTheSameAfterRenderAndParse) {
  Probe probe;
  probe.role = 1;
  probe.tunnel = 63;
  probe.instance = 0xdeadbeef;
  probe.sequence = 0xffffffff;
  probe.tunnel_sequence = 7;
  probe.sent_us = 1;
  probe.echo_us = 2;
  probe.held_us = 3;
  probe.transit_us = 0x80000001;
  probe.hears = 0x8000000000000001;
  probe.ready = 2;
  probe.fresh = 1ULL << 39U;
  probe.stuck = 1ULL << 40U;
  probe.member = 1ULL << 41U;
  EXPECT_EQ(parse_probe(render_probe(probe)), probe);
}

TEST(Probe, OfAnOlderBonddSaysNothingOfMembers) {
  Probe probe;
  probe.instance = 1;
  probe.stuck = 5;
  probe.member.reset();
  const auto rendered = render_probe(probe);
  EXPECT_EQ(parse_probe(rendered), probe);
  EXPECT_EQ(parse_probe(std::span(rendered).first(76)), probe);
}

TEST(Probe, NonsenseIsNone) {
  Probe probe;
  probe.instance = 1;
  auto good = render_probe(probe);
  ASSERT_TRUE(parse_probe(good));
  EXPECT_FALSE(parse_probe(std::span(good).first(kProbeSize - 1)));
  EXPECT_FALSE(parse_probe({}));
  for (const auto& [at, value] : std::map<std::size_t, std::uint8_t>{{0, 'X'}, {2, 9}, {3, 2}, {4, 64}}) {
    auto bad = good;
    bad[at] = value;
    EXPECT_FALSE(parse_probe(bad)) << at;
  }
  std::mt19937 random{1};
  for (int i = 0; i < 10000; ++i) {
    auto noise = good;
    noise[random() % noise.size()] = static_cast<std::uint8_t>(random());
    (void)parse_probe(noise);
  }
}

TEST(Liveness, BothEndsCarryAtOnce) {
  World world;
  EXPECT_LE(world.run_until(2s,
                            [&] {
                              return world.state(0, "tap2") == TunnelState::kUp &&
                                     world.state(1, "tap2") == TunnelState::kUp;
                            }),
            150ms);
  world.run(60s);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(world.end(i).changes, testing::SizeIs(2));
    EXPECT_THAT(world.end(i).dead, IsEmpty());
    EXPECT_NEAR(*world.end(i).live->view(world.now(), "tap1").rtt_ms, 40, 3);
    EXPECT_EQ(world.end(i).live->view(world.now(), "tap1").loss_percent, 0);
  }
}

TEST(Liveness, ACutLineIsDeadAtBothEndsWithin400ms) {
  for (int phase = 0; phase < 75; phase += 5) {
    World world;
    world.run(5s + phase * 1ms);
    world.cut("tap2", true);
    EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
              400ms);
    EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
    EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
  }
}

TEST(Liveness, ACutLineFullOfDataIsDeadWithin400ms) {
  World world;
  world.data_every = 6ms;
  world.run(5s);
  world.cut("tap2", true);
  EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
            400ms);
}

TEST(Liveness, SilenceInOneDirectionIsKnownToBothEnds) {
  for (const int deaf : {0, 1}) {
    World world;
    world.run(5s);
    world.line(1 - deaf, "tap2").cut = true;
    EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
              400ms);
    EXPECT_THAT(world.end(deaf).changes.back().reason, HasSubstr("nothing heard from the peer for 0.3 s"));
    EXPECT_EQ(world.end(1 - deaf).changes.back().reason, "the peer hears nothing from here");
    world.run(10s);
    EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
    EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
  }
}

TEST(Liveness, ALineThatReturnsCarriesWithin2Seconds) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  EXPECT_LE(world.run_until(5s,
                            [&] {
                              return world.state(0, "tap2") == TunnelState::kUp &&
                                     world.state(1, "tap2") == TunnelState::kUp;
                            }),
            1300ms);
  EXPECT_THAT(world.end(0).changes.back().reason, testing::StartsWith("heard both ways again after 10."));
}

TEST(Liveness, BothEndsTakeALineBackAtAlmostTheSameTime) {
  World world;
  for (int i = 0; i < 2; ++i) world.line(i, "tap2").delay = 100ms;
  world.run(5s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  world.run_until(5s, [&] { return world.end(0).dead.empty() || world.end(1).dead.empty(); });
  EXPECT_LE(world.run_until(5s, [&] { return world.end(0).dead.empty() && world.end(1).dead.empty(); }),
            90ms);
}

TEST(Liveness, AFlappingLineIsTrustedLaterEachTime) {
  World world;
  world.run(5s);
  std::vector<Duration> away;
  for (int i = 0; i < 4; ++i) {
    world.cut("tap2", true);
    world.run(1s);
    world.cut("tap2", false);
    away.push_back(
        world.run_until(60s, [&] { return world.end(0).dead.empty() && world.end(1).dead.empty(); }));
    world.run(1s);
  }
  EXPECT_THAT(away[0], Lt(1500ms));
  EXPECT_GT(away[1], 2s);
  EXPECT_GT(away[3], 8s);
  EXPECT_THAT(away[3], Lt(9s));
}

TEST(Liveness, TheLastLineStaysInTheBond) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.run(2s);
  world.cut("tap1", true);
  world.run(10s);
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
  world.cut("tap2", false);
  world.run(3s);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap1"));
  EXPECT_THAT(world.end(1).dead, ElementsAre("tap1"));
}

TEST(Liveness, AnOutageOfAllLinesChangesNothing) {
  World world;
  world.line(0, "tap1").jitter = world.line(1, "tap1").jitter = 5ms;
  world.run(5s);
  for (const char* tap : {"tap1", "tap2"}) world.cut(tap, true);
  world.run(1s);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kUp) << "a second could still be the peer's pause";
  world.run(2s);
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, ALineDeadFromTheStartLeavesTheBond) {
  World world;
  world.cut("tap2", true);
  EXPECT_LE(world.run_until(5s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
            1300ms);
  EXPECT_EQ(world.end(0).live->view(world.now(), "tap2").reason, "nothing heard from the peer");
}

TEST(Liveness, ALossyLineStaysIn) {
  World world;
  for (int i = 0; i < 2; ++i) world.line(i, "tap2").loss = 0.3;
  world.run(20s);  // it is learned what this line is like
  const std::size_t before = world.end(0).changes.size() + world.end(1).changes.size();
  world.run(600s);
  EXPECT_LE(world.end(0).changes.size() + world.end(1).changes.size(), before + 4);
  EXPECT_NEAR(*world.end(0).live->view(world.now(), "tap2").loss_percent, 30, 15);
  EXPECT_EQ(world.end(0).live->view(world.now(), "tap1").loss_percent, 0);
}

TEST(Liveness, ALineWithMuchJitterStaysIn) {
  World world;
  for (int i = 0; i < 2; ++i) world.line(i, "tap2").jitter = 200ms;
  world.run(20s);
  const std::size_t before = world.end(0).changes.size() + world.end(1).changes.size();
  world.run(600s);
  EXPECT_LE(world.end(0).changes.size() + world.end(1).changes.size(), before + 2);
  EXPECT_GT(world.end(0).live->silence_limit("tap2"), 500ms);
  EXPECT_THAT(world.end(0).live->silence_limit("tap1"), Lt(340ms));
}

TEST(Liveness, TwoPercentOfLossCostNoSpeed) {
  World world;
  for (int i = 0; i < 2; ++i) {
    for (const char* tap : {"tap1", "tap2"}) world.line(i, tap).loss = 0.02;
  }
  world.run(3600s);
  EXPECT_LE(world.end(0).changes.size() + world.end(1).changes.size(), 8U);
  world.cut("tap2", true);
  EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
            520ms);
}

TEST(Liveness, ARestartedPeerIsFoundAgain) {
  World world;
  world.run(5s);
  world.end(1).runs = false;
  world.run(3s);
  world.start_end(1);
  world.run(3s);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(world.state(i, "tap1"), TunnelState::kUp);
    EXPECT_EQ(world.state(i, "tap2"), TunnelState::kUp);
    EXPECT_THAT(world.end(i).dead, IsEmpty());
  }
}

TEST(Liveness, OurOwnPauseIsNobodysDeath) {
  World world;
  world.run(5s);
  world.end(0).runs = false;  // stopped by the scheduler; the peer lets the tunnels wait as all are silent
  world.run(700ms);
  world.end(0).runs = true;
  world.run(5s);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
  EXPECT_THAT(world.end(1).changes, testing::SizeIs(2));
}

TEST(Liveness, AnOpenVpnThatWaitsForAProcessorIsNoDeadLine) {
  for (const int end : {0, 1}) {
    World world;
    world.run(5s);
    world.stuck[end] = {"tap2"};
    world.run(1s);
    world.stuck[end].clear();
    world.run(3s);
    EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
    EXPECT_THAT(world.end(1).changes, testing::SizeIs(2));
    world.stuck[end] = {"tap2"};
    world.run(3s);
    EXPECT_THAT(world.end(0).dead, ElementsAre("tap2")) << "there is an end to patience";
    EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
  }
}

TEST(Liveness, APeerWithoutBonddLeavesItToTheKernel) {
  World world;
  world.end(1).runs = false;
  world.data_every = 300ms;  // its ARP requests
  world.run(5s);
  EXPECT_FALSE(world.end(0).live->peer_probes());
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kUp);
  world.cut("tap2", true);
  world.run(5s);
  EXPECT_EQ(world.state(0, "tap2"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, APeerWhoseBonddIsReplacedByHandIsLeftToTheKernel) {
  World world;
  world.data_every = 300ms;
  world.run(5s);
  world.cut("tap2", true);
  world.run(2s);
  ASSERT_THAT(world.end(0).dead, ElementsAre("tap2"));
  world.end(1).runs = false;
  world.run(40s);
  EXPECT_FALSE(world.end(0).live->peer_probes());
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, WrappedClocksAndNumbersAreNoEvent) {
  World world(2, TimePoint(std::chrono::microseconds((1ULL << 32U) - 3'000'000)));
  world.run(10s);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
  EXPECT_NEAR(*world.end(0).live->view(world.now(), "tap1").rtt_ms, 40, 3);
}

TEST(Liveness, KnowsWhichTunnelBringsPacketsSooner) {
  World world;
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms;
  world.line(0, "tap2").delay = 12ms;
  world.line(1, "tap2").delay = 40ms;
  world.run(5s);
  const auto behind = [&](int end, const std::string& tap) {
    return world.end(end).live->view(world.now(), tap).behind;
  };
  EXPECT_EQ(behind(0, "tap1"), 13ms);
  EXPECT_EQ(behind(0, "tap2"), 0ms);
  EXPECT_EQ(behind(1, "tap1"), 0ms);
  EXPECT_EQ(behind(1, "tap2"), 15ms);

  world.line(0, "tap1").delay = 30ms;
  world.run(5s);
  EXPECT_EQ(behind(0, "tap1"), 18ms) << "what was before is forgotten";
  world.cut("tap2", true);
  world.run(5s);
  EXPECT_EQ(behind(0, "tap1"), 0ms) << "the others do not count dead ones";
}

TEST(Liveness, TheDelayIsKnownSoonAfterTheStart) {
  World world;
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms;
  const Duration took = world.run_until(5s, [&] {
    return world.state(0, "tap1") == TunnelState::kUp && world.end(0).live->view(world.now(), "tap1").behind;
  });
  EXPECT_LE(took, 350ms);
}

TEST(Liveness, ATunnelThatIsBusyNowAndThenKeepsWhatIsKnownOfItsDelay) {
  World world;
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms;
  for (const int end : {0, 1}) world.line(end, "tap2").delay = 12ms;
  world.run(5s);
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 60ms;  // a queue
  for (int i = 0; i < 2; ++i) {
    world.data_every = 5ms;
    world.run(5s);
    world.data_every = 0ms;
    world.run(300ms);  // too short for it to run dry
  }
  EXPECT_EQ(world.end(0).live->view(world.now(), "tap1").behind, 13ms);
}

TEST(Liveness, AGrowingQueueIsNoJitter) {
  World world;
  world.data_every = 5ms;
  for (int i = 0; i < 100; ++i) {
    for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms + 2ms * (i % 50);
    world.run(100ms);
  }
  EXPECT_LE(world.end(0).live->silence_limit("tap1"), 350ms);
}

TEST(Liveness, DataTakesThePlaceOfProbes) {
  World idle, busy;
  busy.data_every = 5ms;
  idle.run(60s);
  busy.run(60s);
  EXPECT_NEAR(idle.end(0).probes, 2 * 60 / 0.075, 80);
  EXPECT_NEAR(busy.end(0).probes, 2 * 60 / 0.6, 40);
  EXPECT_THAT(busy.end(0).changes, testing::SizeIs(2));
}

// The peer's probes come at any moment between two readings of the counters: until the next
// one, nobody knows whether openvpn has taken what was put into its tap.
TEST(Liveness, AProbeBetweenTwoReadingsOfTheCountersMakesNoNews) {
  for (Duration delay = 5ms; delay < 75ms; delay += 10ms) {
    World world;
    world.data_every = 5ms;
    for (const int end : {0, 1}) {
      for (const char* const tap : {"tap1", "tap2"}) world.line(end, tap).delay = delay;
    }
    world.run(60s);
    EXPECT_NEAR(world.end(0).probes, 2 * 60 / 0.6, 40) << delay / 1ms << " ms";
  }
}

TEST(Liveness, ARestartedOpenVpnLeavesTheBondUntilItIsHeard) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.end(0).live->handle_restart(world.now(), "tap2", "its openvpn ended");
  world.run(1ms);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
  EXPECT_LE(world.run_until(1s, [&] { return !world.end(1).dead.empty(); }), 100ms) << "the peer is told";
  world.run(500ms);
  world.cut("tap2", false);
  world.run(3s);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

// Each end changes its bond when its pass has run, on a busy machine seconds after the other end. What comes
// out of a tap that is not in the bond is lost.
TEST(Liveness, NoFrameIsLostWhenATunnelIsDrainedAndRestoredHoweverLatePassesAre) {
  for (const Duration office_pass : {0ms, 80ms, 700ms, 2000ms}) {
    for (const Duration vps_pass : {0ms, 150ms, 2500ms}) {
      for (const int drains : {0, 1}) {
        SCOPED_TRACE(fmt::format("{} and {} ms, drained at {}", office_pass / 1ms, vps_pass / 1ms, drains));
        World world;
        world.line(0, "tap2").delay = 90ms;
        world.data_every = 5ms;
        world.end(0).pass = office_pass;
        world.end(1).pass = vps_pass;
        world.run(3s);
        world.end(drains).drained = {"tap2"};
        world.run(20s);
        for (const int end : {0, 1}) {
          EXPECT_THAT(world.end(end).members, ElementsAre("tap1")) << end;
          EXPECT_TRUE(world.end(end).live->view(world.now(), "tap2").heard) << end;
          EXPECT_EQ(world.state(end, "tap1"), TunnelState::kUp) << end;
        }
        world.end(drains).drained.clear();
        EXPECT_LE(world.run_until(20s,
                                  [&] {
                                    return world.state(0, "tap2") == TunnelState::kUp &&
                                           world.state(1, "tap2") == TunnelState::kUp;
                                  }),
                  1500ms + std::max(office_pass, vps_pass));
        world.run(5s);
        for (const int end : {0, 1}) {
          EXPECT_THAT(world.end(end).members, ElementsAre("tap1", "tap2")) << end;
          EXPECT_EQ(world.end(end).lost, 0U) << end;
          EXPECT_EQ(world.state(end, "tap2"), TunnelState::kUp) << end;
        }
      }
    }
  }
}

// On a busy machine openvpn goes on while bondd stands still.
TEST(Liveness, APeerThatStandsStillForSecondsHasItsDrainedTapLeftOut) {
  World world;
  world.data_every = 20ms;
  world.run(3s);
  world.end(0).drained = {"tap2"};
  world.run(10s);
  ASSERT_THAT(world.end(1).members, ElementsAre("tap1"));
  world.end(0).runs = false;
  world.run(12s);
  world.end(0).runs = true;
  world.run(5s);
  EXPECT_EQ(world.end(0).lost, 0U);
  EXPECT_THAT(world.end(1).members, ElementsAre("tap1"));
}

TEST(Liveness, ATunnelThatCannotJoinIsGivenUpAndTriedAgain) {
  World world;
  world.end(1).pass = 7s;
  world.run(3s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  world.run(8s);
  EXPECT_EQ(world.state(0, "tap2"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).changes.back().reason, HasSubstr("into their bonds"));
  world.end(1).pass = 100ms;
  world.run(15s);
  EXPECT_EQ(world.state(0, "tap2"), TunnelState::kUp);
  EXPECT_EQ(world.state(1, "tap2"), TunnelState::kUp);
}

// No other tunnel could bring the other end's word.
TEST(Liveness, ATunnelThatJoinsCarriesAtOnceWhenTheOthersDie) {
  World world;
  world.end(1).pass = 3s;
  world.run(3s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  world.run_until(5s, [&] { return world.state(0, "tap2") == TunnelState::kJoining; });
  ASSERT_EQ(world.state(0, "tap2"), TunnelState::kJoining);
  world.cut("tap1", true);
  world.run(2s);
  for (const int end : {0, 1}) EXPECT_EQ(world.state(end, "tap2"), TunnelState::kUp) << end;
}

TEST(Liveness, ATunnelOfAnotherOrderAtThePeerIsUnderstood) {
  World world;
  world.end(1).live->set_tunnels(world.now(), {{"tap2", "wan2"}});
  world.end(1).live->set_tunnels(world.now(),
                                 {{"tap2", "wan2"}, {"tap1", "wan1"}});  // its numbers are 0 and 1
  world.run(5s);
  world.line(0, "tap2").cut = true;
  world.run(1s);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
  EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
}

TEST(Liveness, AddedAndRemovedTunnelsLeaveTheOthersAlone) {
  World world(3);
  world.run(5s);
  for (int i = 0; i < 2; ++i)
    world.end(i).live->set_tunnels(world.now(), {{"tap3", "wan3"}, {"tap1", "wan1"}});
  world.run(5s);
  EXPECT_EQ(world.state(0, "tap3"), TunnelState::kUp);
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kUp);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(3));
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, AClientStartsASilentTunnelAnewNowAndThen) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.run(500ms);
  std::vector<int> at;  // seconds after the cut
  for (int i = 0; i < 150; ++i) {
    if (const auto tap = world.end(0).live->poll_restart(world.now())) {
      EXPECT_EQ(*tap, "tap2");
      at.push_back(i);
    }
    EXPECT_FALSE(world.end(1).live->poll_restart(world.now())) << "the server waits for its client";
    world.run(1s);
  }
  EXPECT_THAT(at, ElementsAre(15, 30, 60, 120));
}

TEST(Liveness, AClientAsksForANewSessionWhenItsServersOpenVpnIsANewOne) {
  World world(2, TimePoint(100s), true);
  world.run(5s);
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now()));
  world.cut("tap2", true);  // neither understands the other any more
  world.end(1).live->handle_restart(world.now(), "tap2");
  world.run(500ms);
  EXPECT_EQ(world.end(0).live->poll_restart(world.now()), "tap2");
  world.end(0).live->handle_restart(world.now(), "tap2");
  world.run(10s);
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now())) << "once is enough";
}

TEST(Liveness, AClientAsksForNewSessionsWhenAllIsSilent) {
  World world(2, TimePoint(100s), true);
  world.run(5s);
  for (const char* tap : {"tap1", "tap2"}) world.cut(tap, true);
  world.run(4s);
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now()));
  world.run(2s);
  EXPECT_EQ(world.end(0).live->poll_restart(world.now()), "tap1");
  EXPECT_EQ(world.end(0).live->poll_restart(world.now()), "tap2");
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now()));
}

TEST(Liveness, AChangedArpIntervalChangesTheProbes) {
  World world;
  world.run(5s);
  for (const int end : {0, 1}) world.end(end).live->set_arp_interval(1200ms);
  const unsigned before = world.end(0).probes;
  world.run(60s);
  EXPECT_NEAR(world.end(0).probes - before, 2 * 60 / 0.3, 20);
  EXPECT_GE(world.end(0).live->silence_limit("tap1"), 1200ms);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
}

TEST(Liveness, ManyTunnelsAreWatchedAndTooManySurvive) {
  World world(80);
  world.run(3s);
  EXPECT_EQ(world.state(0, "tap64"), TunnelState::kUp);
  EXPECT_EQ(world.state(0, "tap65"), TunnelState::kStarting);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

}  // namespace
}  // namespace bondd::control
