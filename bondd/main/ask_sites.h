// Questions to running sites, and which sites are meant.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/control/run_dir.h"
#include "bondd/ipc/control_client.h"
#include "bondd/main/commands.h"
#include "bondd/main/site_file.h"
#include "bondd/model/status.h"

namespace bondd {

struct Answer {
  std::vector<model::SiteStatus> sites;
  int exit_status = kDone;  // kFailed: some site did not answer
};

// The error is the control socket's when no bondd answers there.
Result<model::SiteStatus> ask_running(const control::RunDirView& view);

// Of each site its status; one that does not answer is down, as its file has it, for a reason. Where only
// root may ask, an error says so.
Answer ask_all(const std::filesystem::path& run_root, const std::vector<SiteFile>& sites);

// The site with that name or file, or without one all that are up; nothing when the argument is wrong (said).
std::optional<std::vector<SiteFile>> sites_to_show(const std::filesystem::path& run_root,
                                                   const std::string& name);

// The site that is named, or the only one that there is on this machine, or none where there is none.
// Nothing, and said, when the name is wrong or which one is meant is not clear.
std::optional<std::optional<SiteFile>> site_or_only_one(const CommonOptions& options,
                                                        std::string_view command);

// False, and said, when only root may ask.
bool may_look(const std::filesystem::path& run_root);

// Why no bondd answers for a site, in words for people, from the error of the control socket. EACCES stays in
// the code.
Error why_silent(const control::RunDirView& view, const Error& error);

// Sends a request that changes something, and prints what the site says to it; gives the exit status.
int tell_site(const control::RunDirView& view, const ipc::Request& request);

}  // namespace bondd
