// The times and limits by which tunnels are judged. For liveness*.cc only.
#pragma once

#include <chrono>
#include <cstdint>

#include "bondd/base/units.h"

namespace bondd::control {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr auto kMinInterval = milliseconds(25), kMaxInterval = milliseconds(500);
inline constexpr int kTicksPerRound = 6;          // at most, when a silence comes near its limit
inline constexpr std::uint64_t kBusyPackets = 4;  // in a round: so many leave no long pause
inline constexpr unsigned kBusyRounds = 8;        // a busy tunnel gets every eighth
inline constexpr int kYoungRounds = 3;            // in an interval, while a tunnel is young
inline constexpr auto kYoung = seconds(1);
inline constexpr unsigned kLoudRounds = 4;  // after a change every tunnel carries the news

// How many probes may be lost in a row before it is no chance any more: with loss p the
// chance of k in a row is p^k; this is one false alarm in a day or so.
inline constexpr double kFalseAlarm = 1e-6;
inline constexpr double kLeastLoss = 0.001;  // believed of the best line
inline constexpr int kLeastMissed = 4;
inline constexpr double kSlack = 0.1;  // of an interval: the sender's timer
inline constexpr int kJitters = 4;
inline constexpr int kMostIntervals = 20;
// A probe that the tap's queue dropped must not count for ever.
inline constexpr std::uint64_t kUnreadMax = 4;

inline constexpr auto kTransitWindow = seconds(2);
inline constexpr unsigned kTransitsForSure = 8;  // the first ones wait for what starts beside them

inline constexpr auto kStartGrace = seconds(1);     // for the others, once one carries
inline constexpr auto kNoProbesAfter = seconds(2);  // frames come, but no probe: no bondd there
// A bondd that sent probes is gone, and another program has its tunnels. On a busy machine it may stand still
// for seconds while openvpn goes on; to leave all to the kernel then would take dead and drained taps back.
inline constexpr auto kProbesStopped = seconds(30);
inline constexpr auto kQuietWithoutProbes = seconds(1);  // at least; else 3 ARP intervals

inline constexpr Duration kFirstHold = seconds(1), kMaxHold = seconds(30);
// Down again so soon after it came back: hold twice as long.
inline constexpr Duration kFlapping = seconds(8);

inline constexpr auto kSessionsLost = seconds(5);     // without a frame on any tunnel
inline constexpr auto kOldFrames = milliseconds(50);  // may lie in a socket, or be counted late
inline constexpr auto kRestartChance = seconds(8);    // to be heard, for who was just started
inline constexpr Duration kFirstRestart = seconds(15), kMaxRestart = seconds(60);

// For both ends' passes, on a machine that is busy; until then the other tunnels carry.
inline constexpr auto kJoinMost = seconds(5);
// An end that says it uses the tap still, for as long, has errors of its own, or gave up at the same time.
inline constexpr auto kGiveUpMost = seconds(10);

}  // namespace bondd::control
