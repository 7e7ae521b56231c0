// Which of iptables' extensions this machine has, asked of libxtables itself: it finds, by name, the
// shared object of each match and target, as iptables would.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <set>

#include "rules/iptables.h"

#define inline __inline__  // xtables.h is C
#include <xtables.h>
#undef inline

namespace bondd::rules {
namespace {

using Words = std::vector<std::string>;

std::jmp_buf give_up;  // libxtables wants to exit where it cannot go on; it comes back here instead

__attribute__((noreturn)) void on_error(xtables_exittype /*status*/, const char* /*format*/, ...) {
  std::longjmp(give_up, 1);
}

// The kernel's side is not asked: that takes privileges and may load modules.
int any_revision(const char* /*name*/, std::uint8_t /*revision*/, int /*option*/) {
  return 1;
}

bool init_libxtables() {
  static xtables_globals globals{
      .option_offset = 0,
      .program_name = "bondd",
      .program_version = "1",
      .orig_opts = nullptr,
      .opts = nullptr,
      .exit_err = on_error,
      .compat_rev = any_revision,
  };
  static const bool done = xtables_init_all(&globals, NFPROTO_IPV4) == 0;
  return done;
}

// A name ends up in a path, so only what can be an extension's name gets there.
bool is_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && name.size() < XT_EXTENSION_MAXNAMELEN &&
         std::all_of(name.begin(), name.end(), allowed);
}

bool find_match(const char* name) {
  if (setjmp(give_up) != 0) return false;
  return xtables_find_match(name, XTF_TRY_LOAD, nullptr) != nullptr;
}

bool find_target(const char* name) {
  if (setjmp(give_up) != 0) return false;
  return xtables_find_target(name, XTF_TRY_LOAD) != nullptr;
}

struct Extensions {
  std::set<std::string> matches, targets;
};

void collect(const Words& rule, Extensions& used) {
  const Words words = canonical_rule(rule);
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "-m") used.matches.insert(words[i + 1]);
    if (words[i] == "-j") used.targets.insert(words[i + 1]);
  }
}

bool is_verdict(const std::string& target) {
  constexpr std::array<std::string_view, 3> kVerdicts{"ACCEPT", "DROP", "RETURN"};
  return std::find(kVerdicts.begin(), kVerdicts.end(), target) != kVerdicts.end();
}

Extensions extensions_of(const Firewall& firewall) {
  Extensions used;
  std::set<std::string> chains;
  for (const Table& table : firewall.tables) {
    for (const Chain& chain : table.chains) {
      chains.insert(chain.name);
      for (const Words& rule : chain.rules) collect(rule, used);
    }
  }
  std::erase_if(used.targets,
                [&](const std::string& target) { return is_verdict(target) || chains.contains(target); });
  return used;
}

std::string advice(std::string_view kind, const std::string& name) {
  return fmt::format(
      "iptables has no {} \"{}\" on this machine; install the package that has libxt_{}.so "
      "(Debian: apt install iptables)",
      kind, name, name);
}

}  // namespace

std::vector<std::string> missing_extensions(const Firewall& firewall) {
  std::vector<std::string> missing;
  const Extensions used = extensions_of(firewall);
  const bool usable = init_libxtables();
  for (const std::string& name : used.matches) {
    if (!usable || !is_name(name) || !find_match(name.c_str())) missing.push_back(advice("match", name));
  }
  for (const std::string& name : used.targets) {
    if (!usable || !is_name(name) || !find_target(name.c_str())) missing.push_back(advice("target", name));
  }
  return missing;
}

}  // namespace bondd::rules
