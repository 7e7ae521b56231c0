// Times of day, for people at this machine.
#pragma once

#include <ctime>
#include <string>

namespace bondd {

// "14:03:20", of this machine's time zone.
std::string clock_text(std::time_t when);

}  // namespace bondd
