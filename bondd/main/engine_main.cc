// bondd-engine: the mlvpn backend's data path in a process without rights.
// Started by bondd (see ipc/engine_client.h), not by hand:
//
//   bondd-engine --channel FD [--user USER]
//
// FD is one end of a SOCK_SEQPACKET pair over which the tun, the sockets and
// the password's keys come. Exit status: 0 after a stop, 1 when it could not go on, 2
// for wrong use.
#include <getopt.h>
#include <sodium.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "bondd/main/engine_service.h"
#include "bondd/mlvpn/io/sandbox.h"

#ifdef __SANITIZE_ADDRESS__
// LeakSanitizer looks on from a process that traces this one. The filter kills it, and the
// engine would spin for ever at its end, waiting for it.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}  // NOLINT(bugprone-reserved-identifier)
#endif

namespace {

struct Arguments {
  int channel = -1;
  std::string user;
};

std::optional<Arguments> parse_arguments(int argc, char** argv) {
  const option options[] = {{"channel", required_argument, nullptr, 'c'},
                            {"user", required_argument, nullptr, 'u'},
                            {nullptr, 0, nullptr, 0}};
  Arguments arguments;
  for (int letter = 0; (letter = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    if (letter == 'c') {
      arguments.channel = std::atoi(optarg);
    } else if (letter == 'u') {
      arguments.user = optarg;
    } else {
      return std::nullopt;
    }
  }
  if (arguments.channel < 3 || optind != argc) return std::nullopt;
  return arguments;
}

int fail(const std::string& message) {
  std::fprintf(stderr, "bondd-engine: %s\n", message.c_str());
  return 1;
}

void handle_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { bondd::EngineService::request_stop(); };
  sigaction(SIGTERM, &action, nullptr);  // no SA_RESTART: waiting must end
  // Ctrl-C at a terminal goes to the whole group; the supervisor decides.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace

int main(int argc, char** argv) {
  const int parent = getppid();
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "usage: bondd-engine --channel FD [--user USER]   (bondd starts it)\n");
    return 2;
  }
  handle_signals();
  if (sodium_init() < 0) return fail("libsodium does not start");
  auto channel = bondd::ipc::FdChannel::adopt(bondd::UniqueFd(arguments->channel));
  if (!channel) return fail(channel.error().message);
  const auto sandbox = bondd::mlvpn::drop_rights(arguments->user, parent);
  if (!sandbox) return fail(sandbox.error().message);
  bondd::EngineService service(std::move(*channel), *sandbox);
  const auto done = service.run();
  return done ? 0 : fail(done.error().message);
}
