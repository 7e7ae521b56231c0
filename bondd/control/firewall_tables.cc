#include "bondd/control/firewall_tables.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

#include "rules/nft_tables.h"

namespace bondd::control {
namespace {

constexpr const char* kNote = "nft-tables";
constexpr std::array kUsed = {"filter", "mangle", "nat"};  // by plans; iptables-nft has more

std::set<std::string> noted(const std::filesystem::path& site_dir) {
  std::istringstream text(read_small_file(site_dir / kNote).value_or(""));
  std::set<std::string> tables;
  for (std::string line; std::getline(text, line);) tables.insert(line);
  return tables;
}

}  // namespace

Result<> note_absent_tables(RunDir& run_dir) {
  std::error_code ignored;
  if (std::filesystem::exists(run_dir.path() / kNote, ignored)) return {};
  const auto there = rules::nft_tables();
  if (!there) return {};  // a kernel without nf_tables: nothing to make, nothing to remove
  std::set<std::string> absent;
  for (const char* table : kUsed) {
    if (std::find(there->begin(), there->end(), table) == there->end()) absent.insert(table);
  }
  // What another site made, the last of both removes.
  for (const std::string& site : known_sites(run_dir.path().parent_path())) {
    absent.merge(noted(run_dir.path().parent_path() / site));
  }
  std::string text;
  for (const std::string& table : absent) text += table + "\n";
  return write_durably(run_dir.path() / kNote, text);
}

Result<> remove_unused_tables(const RunDir& run_dir) {
  Result<> outcome;
  for (const std::string& table : noted(run_dir.path())) {
    if (auto done = rules::delete_unused_nft_table(table); !done) outcome = done;
  }
  return outcome;
}

}  // namespace bondd::control
