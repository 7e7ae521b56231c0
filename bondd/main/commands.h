// The commands of `bondd`, one function each. They return the exit status: kDone,
// kFailed (the configuration or the machine is at fault, and the message says which
// and what to do) or kWrongUse. Messages go to standard error, results to standard output.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/model/config.h"
#include "bondd/model/status.h"

namespace bondd {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUse = 2;
// Of `status`, as monitoring programs and init scripts know them: 0 up, 1 degraded, 3 down.
constexpr int kDegraded = 1;
constexpr int kDown = 3;

struct CommonOptions {
  std::filesystem::path run_root;  // /run/bondd, or the tests' own
  std::string file;                // FILE or NAME; may be empty where the command allows it
  bool verbose = false;
};

// A command's own options, with what may stand before and after every command.
template <typename Options>
Options with_common(Options options, const CommonOptions& common) {
  options.run_root = common.run_root;
  options.verbose = common.verbose;
  return options;
}

struct UpOptions : CommonOptions {
  bool detach = false;
  Duration timeout{};            // until traffic flows; 0: for ever
  bool timeout_written = false;  // by the user: then a server waits for traffic, too
};

struct StatusOptions : CommonOptions {
  bool json = false;
  bool watch = false;
  std::string check;  // "live", "ready", "degraded"; empty: show it
};

struct WaitOptions : CommonOptions {
  Duration timeout = std::chrono::seconds(30);
};

struct ReloadOptions : CommonOptions {
  Duration confirm_within{};  // until `bondd confirm` must come; 0: it need not
};

struct DoctorOptions : CommonOptions {
  std::string line;  // a WAN: only what is about it
  bool json = false;
};

constexpr const char* kSitesDirectory = "/etc/bondd";
constexpr const char* kStateDirectory = "/var/lib/bondd";

struct InitOptions {
  model::Role role = model::Role::kClient;  // of this machine
  model::Backend backend = model::Backend::kMlvpn;
  std::string name;               // of the site; empty: office, or vps
  std::string server;             // address or host name of the VPS; empty: asked for
  std::vector<std::string> wans;  // DEVICE or DEVICE=GATEWAY; empty: found
  std::vector<std::string> lans;  // networks of the office; empty: found
  std::string bond;               // a network for both ends of the bond; empty: a free one
  unsigned first_port = 5080;     // MLVPN's; one more for each further line
  std::size_t lines = 0;          // on the VPS: lines of the office; 0: two
  Duration valid = std::chrono::hours(24);
  std::filesystem::path out = kSitesDirectory;
  bool yes = false, qr = false, force = false;
  std::filesystem::path run_root;
};

struct JoinOptions {
  std::string token;              // empty or "-": from standard input
  std::string name;               // of the site here; empty: as the token proposes
  std::vector<std::string> wans;  // in the office: as of init
  std::filesystem::path out = kSitesDirectory, state = kStateDirectory;
  bool up = false, force = false;
  std::filesystem::path run_root;
};

int init_command(const InitOptions& options);
int join_command(const JoinOptions& options);
int up_command(const UpOptions& options);
int down_command(const CommonOptions& options);
int status_command(const StatusOptions& options);
int wait_command(const WaitOptions& options);
int exit_status_of(model::SiteState state);
int reload_command(const ReloadOptions& options);
int check_command(const CommonOptions& options);
int plan_command(const CommonOptions& options);
int doctor_command(const DoctorOptions& options);
int key_command(const CommonOptions& options);

}  // namespace bondd
