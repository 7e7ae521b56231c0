#include "bondd/base/clock.h"

#include <fmt/format.h>

namespace bondd {

std::string clock_text(std::time_t when) {
  std::tm local{};
  localtime_r(&when, &local);
  return fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
}

}  // namespace bondd
