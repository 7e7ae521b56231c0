// `bondd wan` and `bondd confirm`: a request to the running bondd, and what it says to it.
#include "bondd/main/operate.h"

#include "bondd/main/ask_sites.h"
#include "bondd/main/site_file.h"

namespace bondd {
namespace {

int tell(const CommonOptions& options, const ipc::Request& request) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  return tell_site(control::RunDirView(options.run_root, file->site), request);
}

}  // namespace

int wan_command(const WanOptions& options) {
  ipc::Request request;
  request.command = options.action == "drain" ? ipc::Command::kDrain : ipc::Command::kRestore;
  request.wan = options.wan;
  return tell(options, request);
}

int confirm_command(const CommonOptions& options) {
  ipc::Request request;
  request.command = ipc::Command::kConfirm;
  return tell(options, request);
}

}  // namespace bondd
