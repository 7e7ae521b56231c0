// `bondd metrics`.
#include <fmt/format.h>

#include "bondd/main/ask_sites.h"
#include "bondd/main/metrics_view.h"
#include "bondd/main/tools.h"

namespace bondd {

int metrics_command(const CommonOptions& options) {
  if (!may_look(options.run_root)) return kFailed;
  const auto sites = sites_to_show(options.run_root, options.file);
  if (!sites) return kFailed;
  const Answer answer = ask_all(options.run_root, *sites);
  fmt::print("{}", metrics_view(answer.sites));
  return answer.exit_status;
}

}  // namespace bondd
