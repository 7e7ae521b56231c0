// From what has arrived by when to a rate. Pure.
#pragma once

#include <optional>
#include <vector>

#include "bondd/speedtest/protocol.h"

namespace bondd::speedtest {

// TCP finds the rate of an ordinary line within a second; of a satellite's, nearly.
constexpr Duration kWarmUp = std::chrono::seconds(1);
// Of less a rate says little.
constexpr Duration kLeastWindow = std::chrono::milliseconds(300);

// Mbit/s from the end of the warm-up to the last of `samples`, whose times and bytes grow. A transfer that
// ended before twice the warm-up counts by its second half. Nothing when less than kLeastWindow is left.
std::optional<double> rate_mbit(const std::vector<Progress>& samples);

// The middle one; nothing of none.
std::optional<double> median(std::vector<double> values);

}  // namespace bondd::speedtest
