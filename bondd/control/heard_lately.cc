#include "bondd/control/heard_lately.h"

#include <fmt/format.h>

namespace bondd::control {

model::WanStatus only_if_heard(model::WanStatus status, Duration patience) {
  if (!model::is_heard(status.state) || status.heard_ms_ago.value_or(0) <= to_ms(patience)) return status;
  status.state = model::WanState::kSilent;
  status.reason = fmt::format("no reply for {:.0f} s", *status.heard_ms_ago / 1000);
  return status;
}

}  // namespace bondd::control
