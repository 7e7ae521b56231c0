#include "bondd/control/firewall_tables.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <vector>

#include "rules/nft_tables.h"

namespace bondd::control {
namespace {

constexpr const char* kNote = "nft-tables";

// What iptables-nft may make for a plan, and with it all of a table's built-in chains.
struct BuiltIn {
  const char* table;
  std::vector<const char*> chains;
};
const std::vector<BuiltIn>& built_in() {
  static const std::vector<BuiltIn> all = {
      {"filter", {"INPUT", "FORWARD", "OUTPUT"}},
      {"mangle", {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}},
      {"nat", {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}},
  };
  return all;
}

bool has(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::set<std::string> noted(const std::filesystem::path& site_dir) {
  std::istringstream text(read_small_file(site_dir / kNote).value_or(""));
  std::set<std::string> names;
  for (std::string line; std::getline(text, line);) names.insert(line);
  return names;
}

}  // namespace

Result<> note_absent_tables(RunDir& run_dir) {
  std::error_code ignored;
  if (std::filesystem::exists(run_dir.path() / kNote, ignored)) return {};
  const auto tables = rules::nft_tables();
  const auto chains = rules::nft_base_chains();
  if (!tables || !chains) return {};  // a kernel without nf_tables: nothing to make, nothing to remove
  std::set<std::string> absent;
  for (const BuiltIn& one : built_in()) {
    if (!has(*tables, one.table)) {
      absent.insert(one.table);
      continue;
    }
    for (const char* chain : one.chains) {
      const std::string name = std::string(one.table) + " " + chain;
      if (!has(*chains, name)) absent.insert(name);
    }
  }
  // What another site made, the last of both removes.
  const std::filesystem::path root = run_dir.path().parent_path();
  for (const std::string& site : known_sites(root)) {
    if (runs_in_this_netns(RunDirView(root, site))) absent.merge(noted(root / site));
  }
  std::string text;
  for (const std::string& name : absent) text += name + "\n";
  return write_durably(run_dir.path() / kNote, text);
}

Result<> remove_unused_tables(const RunDir& run_dir) {
  Result<> outcome;
  for (const std::string& name : noted(run_dir.path())) {
    const bool chain = name.find(' ') != std::string::npos;
    auto done = chain ? rules::delete_unused_nft_chain(name) : rules::delete_unused_nft_table(name);
    if (!done) outcome = done;
  }
  return outcome;
}

}  // namespace bondd::control
