// What may come next on the command line, for the shells. The scripts in completions/ ask
// `bondd complete -- WORD…`, so that they know every command and option of the bondd that is installed.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace bondd {

struct Candidate {
  std::string word, help;
  auto operator<=>(const Candidate&) const = default;
};

// `words`: those behind `bondd`, the last one being written and perhaps empty. `sites`: names of sites.
// Nothing where only the user or the shell (a file) can know.
std::vector<Candidate> complete(const CLI::App& app, const std::vector<std::string>& words,
                                const std::vector<std::string>& sites);

// Sites with a file in `directory` and those that are up; sorted. None that this user may not see.
std::vector<std::string> sites_to_complete(const std::string& directory, const std::string& run_root);

}  // namespace bondd
