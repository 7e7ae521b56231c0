// Firewall values as the text that iptables-restore reads, and as commands for people.
//
// iptables-restore --noflush: ":CHAIN - [0:0]" makes the chain or empties it, one table's lines up
// to COMMIT are one transaction, and a bad line changes nothing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "bondd/base/text.h"
#include "rules/iptables.h"
#include "rules/save_file.h"

namespace bondd::rules {
namespace {

constexpr std::size_t kChainNameMax = 28;
constexpr std::array<std::string_view, 5> kTables{"filter", "mangle", "nat", "raw", "security"};
constexpr std::array<std::string_view, 5> kBuiltins{"FORWARD", "INPUT", "OUTPUT", "POSTROUTING",
                                                    "PREROUTING"};

template <typename Names>
bool is_one_of(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_chain_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.~").find(c) != std::string_view::npos;
  };
  return is_ours(name) && name.size() <= kChainNameMax && std::all_of(name.begin(), name.end(), allowed);
}

Result<> check_chain_name(const std::string& name) {
  if (is_chain_name(name)) return {};
  return failure(fmt::format("'{}' is no name for a chain of bondd's", name), EINVAL);
}

Result<> check_table(const Table& table) {
  if (!is_one_of(kTables, table.name)) return failure("no such table: " + table.name, EINVAL);
  for (const Chain& chain : table.chains) {
    if (auto checked = check_chain_name(chain.name); !checked) return checked;
  }
  for (const Jump& jump : table.jumps) {
    if (!is_one_of(kBuiltins, jump.builtin))
      return failure("no such built-in chain: " + jump.builtin, EINVAL);
    if (auto checked = check_chain_name(jump.chain); !checked) return checked;
  }
  return {};
}

// Chains declared, which empties them, and filled.
Result<std::string> render_chains(const Table& table) {
  std::string text;
  for (const Chain& chain : table.chains) text += fmt::format(":{} - [0:0]\n", chain.name);
  for (const Chain& chain : table.chains) {
    for (const Words& rule : chain.rules) {
      const auto line = join_words(rule);
      if (!line) return tl::make_unexpected(line.error().in(chain.name));
      text += fmt::format("-A {} {}\n", chain.name, *line);
    }
  }
  return text;
}

std::string in_table(const std::string& name, const std::string& lines) {
  return fmt::format("*{}\n{}COMMIT\n", name, lines);
}

std::string repeat(const std::string& line, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += line;
  return text;
}

std::string delete_jump(const std::string& builtin, const std::string& chain) {
  return fmt::format("-D {} -j {}\n", builtin, chain);
}

// Jumps to the table's chains that are not wanted, or there more than once.
std::string render_stale_jumps(const Table& table, const SavedTable& there) {
  std::string text;
  for (const SavedChain& builtin : there.chains) {
    if (!builtin.builtin()) continue;
    for (const Chain& chain : table.chains) {
      const std::size_t count = there.count_jumps(builtin.name, chain.name);
      const bool wanted = std::any_of(table.jumps.begin(), table.jumps.end(), [&](const Jump& jump) {
        return jump.builtin == builtin.name && jump.chain == chain.name;
      });
      if (!wanted || count > 1) text += repeat(delete_jump(builtin.name, chain.name), count);
    }
  }
  return text;
}

// Jumps that are missing. Insertions go in reverse, so that the first one given comes first.
std::string render_new_jumps(const Table& table, const SavedTable* there) {
  const auto missing = [&](const Jump& jump) {
    return there == nullptr || there->count_jumps(jump.builtin, jump.chain) != 1;
  };
  std::string text;
  for (auto jump = table.jumps.rbegin(); jump != table.jumps.rend(); ++jump) {
    if (jump->first && missing(*jump)) text += fmt::format("-I {} -j {}\n", jump->builtin, jump->chain);
  }
  for (const Jump& jump : table.jumps) {
    if (!jump.first && missing(jump)) text += fmt::format("-A {} -j {}\n", jump.builtin, jump.chain);
  }
  return text;
}

// Rules outside the chains being removed that use `chain` in another way than our plain jump.
std::vector<std::string> foreign_users(const SavedTable& there, const std::string& chain,
                                       const std::vector<std::string>& removed) {
  std::vector<std::string> users;
  for (const SavedRule& rule : there.rules) {
    if (jump_target(rule.words) != chain || is_one_of(removed, rule.chain)) continue;
    const bool ours = there.is_builtin(rule.chain) && rule.words.size() == 2 && rule.words[0] == "-j";
    if (!ours) users.push_back(fmt::format("-A {} {}", rule.chain, fmt::join(rule.words, " ")));
  }
  return users;
}

std::string render_chain_removal(const Table& table, const SavedTable& there,
                                 std::vector<std::string>& in_use) {
  std::vector<std::string> chains;
  for (const Chain& chain : table.chains) {
    if (there.has_chain(chain.name)) chains.push_back(chain.name);
  }
  std::string flushes, deletes;
  for (const std::string& chain : chains) {
    flushes += fmt::format("-F {}\n", chain);
    const auto users = foreign_users(there, chain, chains);
    if (users.empty()) deletes += fmt::format("-X {}\n", chain);
    in_use.insert(in_use.end(), users.begin(), users.end());
  }
  return flushes + deletes;
}

// Every plain jump from a built-in chain to the table's chains, and the table's own jumps.
std::string render_jump_removal(const Table& table, const SavedTable& there) {
  std::vector<Jump> jumps = table.jumps;
  for (const SavedChain& builtin : there.chains) {
    if (!builtin.builtin()) continue;
    for (const Chain& chain : table.chains) jumps.push_back({builtin.name, chain.name});
  }
  for (Jump& jump : jumps) jump.first = true;
  std::sort(jumps.begin(), jumps.end());
  jumps.erase(std::unique(jumps.begin(), jumps.end()), jumps.end());
  std::string text;
  for (const Jump& jump : jumps) {
    text += repeat(delete_jump(jump.builtin, jump.chain), there.count_jumps(jump.builtin, jump.chain));
  }
  return text;
}

}  // namespace

std::string_view to_string(Variant variant) {
  switch (variant) {
    case Variant::kNft:
      return "nft";
    case Variant::kLegacy:
      return "legacy";
  }
  return "?";
}

Result<> check_names(const Firewall& firewall) {
  for (const Table& table : firewall.tables) {
    if (auto checked = check_table(table); !checked) return checked;
  }
  return {};
}

Result<std::string> render_restore(const Firewall& firewall) {
  if (auto checked = check_names(firewall); !checked) return tl::make_unexpected(checked.error());
  std::string text;
  for (const Table& table : firewall.tables) {
    auto chains = render_chains(table);
    if (!chains) return chains;
    if (!chains->empty()) text += in_table(table.name, *chains);
  }
  return text;
}

Result<std::string> render_remove(const Firewall& firewall) {
  if (auto checked = check_names(firewall); !checked) return tl::make_unexpected(checked.error());
  std::string text;
  for (const Table& table : firewall.tables) {
    std::string lines;
    for (const Jump& jump : table.jumps) lines += delete_jump(jump.builtin, jump.chain);
    for (const Chain& chain : table.chains) lines += fmt::format("-F {}\n", chain.name);
    for (const Chain& chain : table.chains) lines += fmt::format("-X {}\n", chain.name);
    if (!lines.empty()) text += in_table(table.name, lines);
  }
  return text;
}

Result<std::string> render_install(const Firewall& firewall, const std::vector<SavedTable>& there) {
  if (auto checked = check_names(firewall); !checked) return tl::make_unexpected(checked.error());
  std::string text;
  for (const Table& table : firewall.tables) {
    auto chains = render_chains(table);
    if (!chains) return chains;
    const SavedTable* saved = find_table(there, table.name);
    std::string lines = *chains;
    if (saved != nullptr) lines += render_stale_jumps(table, *saved);
    lines += render_new_jumps(table, saved);
    if (!lines.empty()) text += in_table(table.name, lines);
  }
  return text;
}

Result<Removal> render_removal(const Firewall& firewall, const std::vector<SavedTable>& there) {
  if (auto checked = check_names(firewall); !checked) return tl::make_unexpected(checked.error());
  Removal removal;
  for (const Table& table : firewall.tables) {
    const SavedTable* saved = find_table(there, table.name);
    if (saved == nullptr) continue;
    const std::string lines =
        render_jump_removal(table, *saved) + render_chain_removal(table, *saved, removal.in_use);
    if (!lines.empty()) removal.text += in_table(table.name, lines);
  }
  return removal;
}

std::vector<std::string> render_commands(const Firewall& firewall) {
  std::vector<std::string> commands;
  const auto add = [&](const std::string& table, Words words) {
    words.insert(words.begin(), {"iptables", "-t", table});
    commands.push_back(shell_join(words));
  };
  for (const Table& table : firewall.tables) {
    for (const Chain& chain : table.chains) {
      add(table.name, {"-N", chain.name});
      for (const Words& rule : chain.rules) {
        Words words{"-A", chain.name};
        words.insert(words.end(), rule.begin(), rule.end());
        add(table.name, std::move(words));
      }
    }
    // Insertions in reverse, as render_new_jumps() has them: the first one given comes first.
    for (auto jump = table.jumps.rbegin(); jump != table.jumps.rend(); ++jump) {
      if (jump->first) add(table.name, {"-I", jump->builtin, "-j", jump->chain});
    }
    for (const Jump& jump : table.jumps) {
      if (!jump.first) add(table.name, {"-A", jump.builtin, "-j", jump.chain});
    }
  }
  return commands;
}

}  // namespace bondd::rules
