#include "bondd/main/ask_sites.h"

#include <fmt/format.h>
#include <unistd.h>

#include "bondd/main/complete.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;
using model::SiteStatus;
using model::WanStatus;

constexpr auto kAskLimit = 5s;
constexpr auto kTellLimit = 30s;  // a reload may wait for a name server

// How the user names a site: by its name, where its file is in the usual place.
std::string name_or_file(const std::filesystem::path& file, const std::string& site) {
  return file == std::filesystem::path(kSitesDirectory) / (site + ".toml") ? site : file.native();
}

// A site whose bondd does not answer: what its file says, all down for that reason. The file need not be
// right.
SiteStatus down_site(const std::string& site, const std::optional<std::filesystem::path>& file,
                     const std::string& reason, bool left_behind) {
  SiteStatus status;
  status.name = site;
  std::error_code ignored;
  if (file && std::filesystem::exists(*file, ignored)) {
    const auto read = read_site_file(*file);
    if (!read) {
      status.warnings.push_back(fmt::format("{} has errors; `bondd check {}` prints them", file->native(),
                                            name_or_file(*file, site)));
    } else {
      const model::Config* const config = &read->config;
      status.role = name(config->role);
      status.backend = name(config->backend);
      status.bond_interface = config->bond.interface;
      for (const model::Wan& wan : config->wans) {
        WanStatus one;
        one.name = wan.name;
        one.state = model::WanState::kDown;
        one.reason = reason;
        status.wans.push_back(one);
      }
    }
  }
  if (status.wans.empty()) status.warnings.insert(status.warnings.begin(), reason);
  if (left_behind) {
    status.warnings.push_back(
        fmt::format("a killed bondd left things behind; `bondd down {}` removes them", site));
  }
  return status;
}

Result<SiteStatus> ask_site(const control::RunDirView& view,
                            const std::optional<std::filesystem::path>& file) {
  auto status = ask_running(view);
  if (status || status.error().code == 0) return status;  // an answer, though it may not be understood
  const Error why = why_silent(view, status.error());
  if (why.code == EACCES) return tl::make_unexpected(why);
  return down_site(view.site(), file, why.message, !view.running() && view.slot().has_value());
}

}  // namespace

Error why_silent(const control::RunDirView& view, const Error& error) {
  if (error.code == EACCES)
    return {fmt::format("only root may ask for the status of {}; try sudo", view.site()), EACCES};
  if (!view.running())
    return {fmt::format("{0} is not up; `bondd up {0}` starts it", view.site()), error.code};
  if (error.code == ETIMEDOUT)
    return {fmt::format("the bondd of {} does not answer", view.site()), error.code};
  return {fmt::format("{} is starting or stopping; ask again in a moment", view.site()), error.code};
}

Result<SiteStatus> ask_running(const control::RunDirView& view) {
  auto reply = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  if (!reply) return tl::make_unexpected(reply.error());
  return ipc::parse_status(reply->status);
}

Answer ask_all(const std::filesystem::path& run_root, const std::vector<SiteFile>& sites) {
  Answer answer;
  for (const SiteFile& site : sites) {
    auto status = ask_site(control::RunDirView(run_root, site.site), site.path);
    if (status) {
      answer.sites.push_back(std::move(*status));
    } else {
      say_error(status.error());
      answer.exit_status = kFailed;
    }
  }
  return answer;
}

std::optional<std::vector<SiteFile>> sites_to_show(const std::filesystem::path& run_root,
                                                   const std::string& name) {
  if (!name.empty()) {
    auto file = find_site_file(name);
    if (!file || !is_site(*file, run_root)) return std::nullopt;
    return std::vector{*file};
  }
  std::vector<SiteFile> sites;
  for (const std::string& site : control::known_sites(run_root)) {
    sites.push_back({std::filesystem::path(kSitesDirectory) / (site + ".toml"), site});
  }
  return sites;
}

std::optional<std::optional<SiteFile>> site_or_only_one(const CommonOptions& options,
                                                        std::string_view command) {
  using Site = std::optional<SiteFile>;
  const auto named = [](const std::string& name) {
    auto file = find_site_file(name);
    return file ? std::optional<Site>(std::move(file)) : std::nullopt;
  };
  if (!options.file.empty()) return named(options.file);
  const auto sites = sites_to_complete(kSitesDirectory, options.run_root);
  if (sites.size() == 1) return named(sites.front());
  if (sites.empty()) return Site();
  say(fmt::format("bondd: there are several sites; name one: bondd {} {}", command, sites.front()));
  return std::nullopt;
}

bool may_look(const std::filesystem::path& run_root) {
  if (access(run_root.c_str(), F_OK) != 0 || access(run_root.c_str(), R_OK | X_OK) == 0) return true;
  say("bondd: only root may ask for the status; try sudo");
  return false;
}

int tell_site(const control::RunDirView& view, const ipc::Request& request) {
  const auto reply = ipc::ask(view.socket(), request, kTellLimit);
  if (!reply) {
    if (reply.error().code == EACCES) {
      say(fmt::format("bondd: only root may change {}; try sudo", view.site()));
    } else {
      say_error(why_silent(view, reply.error()));
    }
    return kFailed;
  }
  for (const std::string& message : reply->messages) say(message);
  return reply->ok ? kDone : kFailed;
}

}  // namespace bondd
