// The times by which a link acts and judges, and how they are written in its events. For link*.cc only.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "bondd/mlvpn/core/link.h"

namespace bondd::mlvpn {

using namespace std::chrono_literals;

inline constexpr auto kAuthFast = 500ms;  // the first tries; then
// With session keys these are two datagrams of which each may get lost, and a bondd runs no script for them:
// ten tries in 2.5 s fail one time in 800 where a third gets lost.
inline constexpr auto kAuthSession = 250ms;
inline constexpr auto kAuthSlow = 1s;  // as upstream: its server runs a script for each AUTH
inline constexpr unsigned kAuthFastTries = 10;
inline constexpr auto kKeepalive = 1s;
inline constexpr Duration kConfirmAgain =
    100ms;                                // the first packet under new keys may get lost; and two round trips
inline constexpr auto kEchoLife = 1s;     // older timestamps are not echoed
inline constexpr auto kMaxSample = 5000;  // ms; longer "round trips" are wrap-around
inline constexpr auto kMinTimeout = 2s;
inline constexpr auto kResolveFirst = 5s;
inline constexpr auto kResolveAgain = 30s;
inline constexpr auto kBadMacQuiet = 10s;
inline constexpr auto kStrangerQuiet = 1s;
inline constexpr auto kAskQuiet = 200ms;               // between AUTHs at the word of a DISCONNECT
inline constexpr unsigned kFlowLife = 10;              // AUTHs without an answer; then another flow is tried
inline constexpr auto kProofAgain = 150ms;             // a proof may get lost; and two round trips
inline constexpr std::string_view kBye = "BYE";        // a bondd's DISCONNECT
inline constexpr Duration kSilentProbe = 100ms;        // how often a silent link is asked
inline constexpr Duration kProbeIdle = 1600ms;         // a bondd peer's keepalive is missing
inline constexpr Duration kKeepaliveMissing = 3200ms;  // an upstream peer's; it may send one in 2 s
inline constexpr Duration kQuietServer = 2500ms;       // then a client says AUTH, though it is in session;
inline constexpr Duration kQuietServerBusy = 1500ms;   // sooner when it sends DATA
inline constexpr Duration kFalseAlarm = 2500ms;        // back within this, a silent link was alive
inline constexpr Duration kAlarmMemory = 60s;
inline constexpr Duration kBusyGap = 100ms;  // packets come closer than this: DATA flows
// An original server answers nothing at once but AUTH, and runs a script for it. So it is only
// asked when DATA found no echo for this long, and after each needless question for twice as long.
inline constexpr Duration kAskAfter = 250ms, kAskMemory = 10min;
// A WAN that only carries when the others fail says a word this often: routers keep the way back of a UDP
// flow for 30 s and more (RFC 4787, 4.3; nf_conntrack_udp_timeout of Linux). It costs 0.6 MB a day, a word
// each second 16.
inline constexpr Duration kRestGap = 25s;
inline constexpr std::size_t kRestSize = 2;    // seconds until the next word; 1: answer me
inline constexpr Duration kRestGapMost = 60s;  // of a peer; a longer one would hide that it is gone
inline constexpr Duration kRestAfter = 5s;     // without DATA
// The answer to such a word: two round trips and their jitter, within these bounds. Then it is asked.
inline constexpr Duration kRestAnswerSoonest = 200ms, kRestAnswerLatest = 1500ms;
// A link on another one's line: how often the server is told at first, how far apart, and
// when its own line is tried (again).
inline constexpr unsigned kRefugeRepeats = 2;
inline constexpr Duration kRefugeGap = 80ms;
inline constexpr Duration kTryHome = 500ms, kTryHomeMost = 4s;
// After the peer's DISCONNECT; it may be starting again.
inline constexpr Duration kRetryAfterGoodbye = 200ms;
// How long DATA may be without an answer before the line is asked, and between two questions: a part of the
// round trip within these bounds; while none was measured, the first.
inline constexpr Duration kAskUnmeasured = 50ms, kAskSoonest = 15ms, kAskLatest = 100ms;
// When questions without an answer mean silence: some round trips within these bounds; while none was
// measured, the first.
inline constexpr Duration kSilentUnmeasured = 500ms, kSilentSoonest = 80ms, kSilentLatest = 1500ms;
// The same for an original peer that sends DATA: twice as long after each false alarm, up to this often.
inline constexpr Duration kSilentOriginal = 120ms;
inline constexpr unsigned kMostDoublings = 5;
// How long an AUTH by a silent link's own line is waited for: two round trips within these bounds.
inline constexpr Duration kHomeSoonest = 2 * kRefugeGap, kHomeLatest = 1500ms;
inline constexpr auto kNever = TimePoint::max();

inline std::string seconds(Duration d) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(d).count());
}
inline std::string milliseconds(Duration d) {
  return fmt::format("{} ms", std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

}  // namespace bondd::mlvpn
