// `bondd wan`: a request to the running bondd, and what it says to it.
#include "bondd/main/operate.h"

#include "bondd/main/ask_sites.h"
#include "bondd/main/site_file.h"

namespace bondd {

int wan_command(const WanOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  ipc::Request request;
  request.command = options.action == "drain" ? ipc::Command::kDrain : ipc::Command::kRestore;
  request.wan = options.wan;
  return tell_site(control::RunDirView(options.run_root, file->site), request);
}

}  // namespace bondd
