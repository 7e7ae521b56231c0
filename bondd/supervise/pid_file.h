// Pid files that name one process for sure: "ID.pid" holds the boot, the pid, the
// time it was started, its arguments and the files that were written for it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "bondd/base/error.h"
#include "bondd/model/state.h"

namespace bondd::supervise {

Result<> write_pid_file(const std::filesystem::path& run_dir, const model::Process& process, pid_t pid);
void remove_pid_file(const std::filesystem::path& run_dir, const std::string& id);

}  // namespace bondd::supervise
