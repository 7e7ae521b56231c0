// From what a user writes as FILE to a checked configuration.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/config/config.h"
#include "bondd/model/config.h"
#include "netlink/rtnl.h"

namespace bondd {

// One line on standard error.
void say(std::string_view line);
void say_error(const Error& error);  // "bondd: …"

// The network of this machine; needs no rights.
Result<netlink::Snapshot> look_at_machine();

struct SiteFile {
  std::filesystem::path path;
  std::string site;
};
// FILE or NAME; says why and gives nothing when it can be neither. The file need not exist.
std::optional<SiteFile> find_site_file(const std::string& argument);

// Whether there is a site of that name: its file, or a bondd that runs it or left things behind. If not, says
// so and which one was likely meant.
bool is_site(const SiteFile& file, const std::filesystem::path& run_root);
// For `down`, which finds what is left also without a file: false, and said, only when another name is
// likely.
bool is_site_or_unlike_any(const SiteFile& file, const std::filesystem::path& run_root);

// Says every mistake and every warning; nothing when there is a mistake.
struct CheckedFile {
  model::Config config;
  std::vector<std::string> warnings;
  std::vector<std::string> lasting;  // of them those that hold until file or machine is edited
  std::string text;                  // as it was read
};
std::optional<CheckedFile> load_site_file(const std::filesystem::path& path,
                                          config::Purpose purpose = config::Purpose::kRun);

// The same without a word: all mistakes in the error, one per line.
Result<CheckedFile> read_site_file(const std::filesystem::path& path);

}  // namespace bondd
