// Two bondd with their tunnels, bonds and lines, in simulated time.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "bondd/control/liveness.h"
#include "bondd/control/tap_drain.h"

namespace bondd::control::test {

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

}  // namespace bondd::control::test
