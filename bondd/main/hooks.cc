// `bondd hooks test`: the running bondd runs the site's program, with the rights and the limits that it has
// there, and its output is shown.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "bondd/main/ask_sites.h"
#include "bondd/main/operate.h"
#include "bondd/main/site_file.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;

constexpr auto kAskLimit = 5s;
constexpr auto kAskEvery = 100ms;

}  // namespace

int hooks_command(const HooksOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  const control::RunDirView view(options.run_root, file->site);
  const auto connection = ipc::connect_control(view.socket());
  if (!connection) return say_error(why_silent(view, connection.error())), kFailed;
  ipc::Request request;
  request.command = ipc::Command::kHooksTest;
  for (;;) {  // bondd ends the program after its timeout
    const auto reply = ipc::ask(connection->get(), request, kAskLimit);
    if (!reply) return say_error(reply.error()), kFailed;
    for (const std::string& line : reply->messages) {
      if (reply->ok) {
        fmt::print("{}\n", line);
      } else {
        say(line);
      }
    }
    if (!reply->messages.empty()) return reply->ok ? kDone : kFailed;
    std::this_thread::sleep_for(kAskEvery);
  }
}

}  // namespace bondd
