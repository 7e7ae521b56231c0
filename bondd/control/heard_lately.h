// A WAN is only called up if it was heard lately. The engine keeps the session of its last line for as
// long as `timeout` says, since there is nothing better to do; whoever asks shall hear the truth sooner.
#pragma once

#include "bondd/base/units.h"
#include "bondd/model/wan_status.h"

namespace bondd::control {

// Without traffic a bondd peer says something each second, the original program each two seconds: two
// packets in a row may be lost, and the answer may be half a second old.
constexpr Duration kHeardLately = std::chrono::milliseconds(3500);
constexpr Duration kHeardLatelyOriginal = std::chrono::milliseconds(6500);

// `status`, or silent instead of up, lossy or slow when heard_ms_ago is above `patience`.
model::WanStatus only_if_heard(model::WanStatus status, Duration patience);

}  // namespace bondd::control
