// The daemon's log. Libraries return errors; what the daemon decides to say goes
// through here, once. Lines are for the admin and never hold secrets.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "bondd/base/error.h"

namespace bondd::control {

class Log {
 public:
  virtual ~Log() = default;
  virtual void info(std::string_view line) = 0;     // a change the user cares about, with its reason
  virtual void warning(std::string_view line) = 0;  // went on, and says so
  virtual void error(std::string_view line) = 0;    // gave something up
  virtual void detail(
      std::string_view line) = 0;     // steps and children's output; only in the file, or if verbose
  virtual void leave_terminal() = 0;  // from now on not to stderr
};

struct LogOptions {
  bool to_stderr = true;
  bool verbose = false;        // details on stderr, too
  std::filesystem::path file;  // empty: none
  bool to_syslog = false;
  std::string site;  // syslog's prefix
};

// stderr: with the time of day in a terminal; with "<N>" priorities and no time under
// systemd (JOURNAL_STREAM). The file, mode 0600, starts anew at 4 MiB, and the one before
// it is kept.
Result<std::unique_ptr<Log>> make_log(const LogOptions& options);

}  // namespace bondd::control
