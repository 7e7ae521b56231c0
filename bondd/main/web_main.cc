// bondd-web: shows a site to browsers, in a process without rights.
// Started by bondd (control/web_process.h), not by hand:
//
//   bondd-web [USER]
//
// Standard input is one end of a SOCK_SEQPACKET pair over which the listening socket and all that is shown
// come; nothing goes back. Exit status: 0 when bondd has closed it, 1 when it could not go on.
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>

#include "bondd/main/metrics_view.h"
#include "bondd/mlvpn/io/sandbox.h"
#include "bondd/web/http_server.h"
#include "bondd/web/service.h"

#ifdef __SANITIZE_ADDRESS__
extern "C" const char* __asan_default_options() {  // see engine_main.cc
  return "detect_leaks=0";
}  // NOLINT(bugprone-reserved-identifier)
#endif

namespace {

// Connections, and some that the library opens for itself.
constexpr rlim_t kMostFiles = bondd::web::kMostConnections + 32;

bondd::Result<> run(const std::string& user, int parent) {
  auto channel = bondd::ipc::FdChannel::adopt(bondd::UniqueFd(STDIN_FILENO));
  if (!channel) return tl::make_unexpected(channel.error());
  const rlimit files{kMostFiles, kMostFiles};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) return bondd::errno_failure("limit its files");
  if (const auto dropped = bondd::mlvpn::drop_rights(user, parent); !dropped)
    return tl::make_unexpected(dropped.error());
  // P/libexec/bondd/bondd-web -> P/share/bondd/web, in the build tree too.
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  auto page = bondd::web::read_page(own.parent_path().parent_path().parent_path() / BONDD_PAGE);
  if (!page) return tl::make_unexpected(page.error());
  return bondd::web::serve(std::move(*channel), std::move(*page),
                           [](const bondd::model::SiteStatus& site) { return bondd::metrics_view({site}); });
}

}  // namespace

int main(int argc, char** argv) {
  const int parent = getppid();
  if (argc > 2) {
    std::fprintf(stderr, "usage: bondd-web [USER]   (bondd starts it)\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a browser that is gone
  const auto done = run(argc == 2 ? argv[1] : "", parent);
  if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());  // bondd says whose words they are
  return done ? 0 : 1;
}
