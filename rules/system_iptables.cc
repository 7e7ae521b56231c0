// The running iptables: which variant, what is there, install and remove.
//
// Two variants can hold rules side by side in one kernel, nf_tables and the older x_tables, and
// both see every packet. bondd joins the one where the admin's rules are, reads both, and clears
// up in both.
#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <set>

#include "bondd/base/file.h"
#include "bondd/supervise/run_program.h"
#include "rules/iptables.h"
#include "rules/nft_readback.h"
#include "rules/nft_ruleset.h"
#include "rules/nft_tables.h"
#include "rules/save_file.h"
#include "rules/xt_ruleset.h"

namespace bondd::rules {
namespace {

using supervise::find_program;
using supervise::run_program;

constexpr std::array kVariants{Variant::kNft, Variant::kLegacy};
constexpr auto kTimeout = std::chrono::seconds(15);
// For /run/xtables.lock, in seconds: on a slow machine the other programs that start with it (docker, ufw)
// hold it for more than five. Below kTimeout, so that the error is iptables' own.
constexpr const char* kWait = "--wait=10";
constexpr const char* kInstall = "iptables is missing; install it (Debian: apt install iptables)";

// "iptables-nft-restore" and its like, for errors.
std::string program_name(Variant variant, std::string_view verb) {
  return fmt::format("iptables-{}-{}", to_string(variant), verb);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text;
}

bool lacks_privileges(std::string_view text) {
  return text.find("you must be root") != std::string_view::npos ||
         text.find("Permission denied") != std::string_view::npos ||
         text.find("Operation not permitted") != std::string_view::npos;
}

// "iptables-restore: line 7 failed" becomes that and the line.
std::string with_failing_line(std::string message, std::string_view input) {
  const std::size_t at = message.rfind("line ");
  if (at == std::string::npos) return message;
  const long number = std::strtol(message.c_str() + at + 5, nullptr, 10);
  for (long n = 1; n < number && !input.empty(); ++n)
    input.remove_prefix(std::min(input.find('\n') + 1, input.size()));
  if (number < 1 || input.empty()) return message;
  return fmt::format("{}: {}", message, input.substr(0, input.find('\n')));
}

Result<std::string> run(const std::string& program, const std::vector<std::string>& arguments,
                        const std::string& input = {}) {
  std::vector<std::string> argv{program};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const auto done = run_program(argv, input, kTimeout);
  if (!done) return tl::make_unexpected(done.error());
  if (done->ok()) return done->output;
  const std::string name = program.substr(program.rfind('/') + 1);
  const std::string words = with_failing_line(std::string(trimmed(done->errors)), input);
  const std::string text = fmt::format("{} failed ({}): {}", name, done->status, words);
  if (lacks_privileges(words))
    return failure(text + "; this needs root or CAP_NET_ADMIN and CAP_NET_RAW", EPERM);
  return failure(text, EIO);
}

// True if anybody but bondd has rules, chains or a policy there.
bool holds_foreign_rules(const std::vector<SavedTable>& tables) {
  const auto foreign_chain = [](const SavedChain& chain) {
    return chain.builtin() ? chain.policy != "ACCEPT" : !is_ours(chain.name);
  };
  const auto foreign_rule = [](const SavedRule& rule) {
    return !is_ours(rule.chain) && !is_ours(jump_target(rule.words));
  };
  return std::any_of(tables.begin(), tables.end(), [&](const SavedTable& table) {
    return std::any_of(table.chains.begin(), table.chains.end(), foreign_chain) ||
           std::any_of(table.rules.begin(), table.rules.end(), foreign_rule);
  });
}

// What a table's own chains for forwarded packets hold of others.
std::set<std::string> forwarding_rules_of(const SavedTable& table) {
  const std::string_view chain = table.name == "filter" ? "FORWARD"
                                 : table.name == "nat"  ? "POSTROUTING"
                                                        : "";
  std::set<std::string> rules;
  for (const SavedRule& rule : table.rules) {
    const std::string_view target = jump_target(rule.words);
    const bool refuses = target == "DROP" || target == "REJECT";  // who refuses packets needs no forwarding
    if (rule.chain == chain && !refuses && !is_ours(target))
      rules.insert(fmt::format("iptables -t {} -A {} {}", table.name, chain, fmt::join(rule.words, " ")));
  }
  return rules;
}

// The same in tables that are not iptables': their rules have no words here, only their number counts.
std::set<std::string> forwarding_rules_outside(const NftRuleset& kernel) {
  std::set<std::string> rules;
  for (const NftTable& table : kernel.tables) {
    const bool sees_ipv4 = table.family == NFPROTO_INET ||
                           (table.family == NFPROTO_IPV4 && table.name != "filter" && table.name != "nat");
    for (const NftChain& chain : table.chains) {
      const bool forwarded = sees_ipv4 && chain.hook &&
                             (chain.hook->number == NF_INET_FORWARD ||
                              (chain.hook->number == NF_INET_POST_ROUTING && chain.hook->type == "nat"));
      for (std::size_t n = 1; forwarded && n <= chain.rules.size(); ++n)
        rules.insert(fmt::format("rule {} of chain {} in nft's table {}", n, chain.name, table.name));
    }
  }
  return rules;
}

// Chains of both variants in one value; equal ones once.
Firewall merged(Firewall one, const Firewall& other) {
  for (const Table& table : other.tables) {
    auto found = std::find_if(one.tables.begin(), one.tables.end(),
                              [&](const Table& candidate) { return candidate.name == table.name; });
    if (found == one.tables.end()) {
      one.tables.push_back(table);
      continue;
    }
    found->chains.insert(found->chains.end(), table.chains.begin(), table.chains.end());
    found->jumps.insert(found->jumps.end(), table.jumps.begin(), table.jumps.end());
  }
  Firewall result = canonical(one);
  for (Table& table : result.tables) {
    table.chains.erase(std::unique(table.chains.begin(), table.chains.end()), table.chains.end());
  }
  return result;
}

class SystemIptables final : public Iptables {
 public:
  Result<Variant> variant() override {
    if (chosen_) return *chosen_;
    auto found = choose();
    if (found) chosen_ = *found;
    return found;
  }

  [[nodiscard]] std::string warning() const override { return warning_; }

  [[nodiscard]] std::vector<std::string> obstacles(const Firewall& firewall) override {
    if (variant().value_or(Variant::kLegacy) != Variant::kNft) return {};
    const auto kernel = read_nft_ruleset();
    return kernel ? unusable_chains(*kernel, firewall) : std::vector<std::string>{};
  }

  [[nodiscard]] NftRuleset ruleset() override {
    auto kernel = read_nft_ruleset();
    NftRuleset out;
    if (kernel) {
      out = std::move(*kernel);
      read_nft_sets(out);
    } else if (!is_absent(kernel.error())) {
      out.unseen.push_back(fmt::format("nftables ({})", kernel.error().message));
    }
    add_legacy(out);
    return out;
  }

  [[nodiscard]] NftRuleset ruleset_with(const Firewall& planned) override {
    auto out = ruleset();
    if (holds_any(out, planned)) return out;  // it runs, in whichever variant it chose
    const bool nft = variant().value_or(Variant::kNft) == Variant::kNft;
    add_planned(out, planned, nft ? "" : legacy_program());
    return out;
  }

  [[nodiscard]] std::set<std::string> forwarding_rules() override {
    std::set<std::string> rules;
    for (const Variant variant : kVariants) {
      const auto there = read(variant);
      if (!there) continue;
      for (const SavedTable& table : there->tables) rules.merge(forwarding_rules_of(table));
      rules.merge(forwarding_rules_outside(there->kernel));
    }
    return rules;
  }

  Result<Firewall> observe(const ChainFilter& filter) override {
    Firewall seen;
    std::optional<Error> trouble;
    bool any = false;
    std::vector<MarkUse> uses;
    for (const Variant variant : kVariants) {
      const auto there = read(variant);
      if (there) {
        seen = merged(std::move(seen), select(there->tables, filter));
        const auto more = uses_of_marks(*there);
        uses.insert(uses.end(), more.begin(), more.end());
        any = true;
      } else if (may_hold_rules(variant, there.error())) {
        return tl::make_unexpected(there.error());
      } else {
        trouble = there.error();
      }
    }
    mark_uses_ = std::move(uses);
    if (!any) return tl::make_unexpected(*trouble);
    return seen;
  }

  [[nodiscard]] std::vector<MarkUse> mark_uses() const override { return mark_uses_; }

  Result<> install(const Firewall& firewall) override {
    const auto into = variant();
    if (!into) return tl::make_unexpected(into.error());
    if (auto done = install_into(*into, firewall); !done) return done;
    // What an earlier choice left in the other variant would filter every packet twice.
    return remove_from(other(*into), firewall);
  }

  Result<> remove(const Firewall& firewall) override {
    Result<> outcome;
    for (const Variant variant : kVariants) {
      if (auto done = remove_from(variant, firewall); !done) outcome = done;
    }
    return outcome;
  }

 private:
  // The kernel has no nf_tables, and so no rules in it.
  static bool is_absent(const Error& error) {
    return error.code == EINVAL || error.code == EOPNOTSUPP || error.code == EPROTONOSUPPORT ||
           error.code == EAFNOSUPPORT || error.code == ENOENT;
  }

  static bool holds_any(const NftRuleset& ruleset, const Firewall& firewall) {
    return std::any_of(firewall.tables.begin(), firewall.tables.end(), [&](const Table& table) {
      return std::any_of(ruleset.tables.begin(), ruleset.tables.end(), [&](const NftTable& there) {
        return std::any_of(table.chains.begin(), table.chains.end(), [&](const Chain& chain) {
          return there.family == NFPROTO_IPV4 && there.chain(chain.name) != nullptr;
        });
      });
    });
  }

  // What changes the older tables: "iptables-legacy", or "iptables" where only that is there.
  static std::string legacy_program() {
    const std::string own = fmt::format("iptables-{}", to_string(Variant::kLegacy));
    return find_program(own) ? own : "iptables";
  }

  // Only where the kernel has such tables: the program would make it load them.
  static void add_legacy(NftRuleset& into) {
    if (!may_hold_rules(Variant::kLegacy, Error{})) return;
    const auto tables = read_shown(Variant::kLegacy);
    if (!tables) {
      into.unseen.push_back(fmt::format("the tables of iptables-legacy ({})", tables.error().message));
      return;
    }
    for (const SavedTable& table : *tables) into.tables.push_back(xt_table(table, legacy_program()));
  }

  static Variant other(Variant variant) {
    return variant == Variant::kNft ? Variant::kLegacy : Variant::kNft;
  }

  // The program for `verb` of this variant; where only "iptables-save" and the like exist, that
  // if it is of this variant.
  static std::optional<std::string> program(Variant variant, std::string_view verb) {
    if (auto found = find_program(program_name(variant, verb))) return found;
    if (alternative() != variant) return std::nullopt;
    return find_program(fmt::format("iptables-{}", verb));
  }

  // What "iptables" is on this machine.
  static std::optional<Variant> alternative() {
    const auto program = find_program("iptables");
    if (!program) return std::nullopt;
    const auto version = run(*program, {"-V"});  // "iptables v1.8.9 (nf_tables)"
    if (!version) return std::nullopt;
    return version->find("nf_tables") != std::string::npos ? Variant::kNft : Variant::kLegacy;
  }

  static Result<std::string> save(Variant variant) {
    const auto found = program(variant, "save");
    if (!found) return failure(kInstall, ENOENT);
    return run(*found, {});
  }

  // All that a variant holds.
  struct Reading {
    std::vector<SavedTable> tables;
    NftRuleset kernel;              // of kNft
    std::set<std::string> unshown;  // tables that iptables itself cannot read, see nft_readback.h

    [[nodiscard]] const NftTable* unshown_table(const std::string& name) const {
      return unshown.contains(name) ? kernel.table(NFPROTO_IPV4, name) : nullptr;
    }
  };

  static std::vector<MarkUse> uses_of_marks(const Reading& reading) {
    std::vector<MarkUse> uses = rules::mark_uses(reading.tables);
    std::set<std::string> shown;
    for (const SavedTable& table : reading.tables) {
      if (!reading.unshown.contains(table.name)) shown.insert(table.name);
    }
    const auto more = rules::mark_uses(reading.kernel, shown);
    uses.insert(uses.end(), more.begin(), more.end());
    return uses;
  }

  static Result<Reading> read(Variant variant) {
    auto shown = read_shown(variant);
    if (variant == Variant::kLegacy) {
      if (!shown) return tl::make_unexpected(shown.error());
      return Reading{std::move(*shown), {}, {}};
    }
    auto kernel = read_nft_ruleset();
    if (!kernel) return tl::make_unexpected(!shown ? shown.error() : kernel.error());
    Reading reading{shown.value_or(std::vector<SavedTable>{}), std::move(*kernel), {}};
    reading.unshown = unshown_tables(reading.tables, reading.kernel);
    if (!shown && reading.unshown.empty()) return tl::make_unexpected(shown.error());
    for (const std::string& name : reading.unshown) {
      auto table = read_back(*reading.unshown_table(name), list_chain);
      if (!table) return tl::make_unexpected(table.error());
      std::erase_if(reading.tables, [&](const SavedTable& one) { return one.name == name; });
      reading.tables.push_back(std::move(*table));
    }
    return reading;
  }

  static Result<std::vector<SavedTable>> read_shown(Variant variant) {
    const auto text = save(variant);
    if (!text) return tl::make_unexpected(text.error());
    return parse_tables(*text);
  }

  // A variant that cannot be read holds nothing where the kernel has none of its tables.
  static bool may_hold_rules(Variant variant, const Error& error) {
    if (error.code == EPERM) return true;
    if (variant == Variant::kLegacy) {
      const auto names = read_file("/proc/net/ip_tables_names");
      return names && !names->empty();
    }
    const auto tables = nft_tables();
    return tables && !tables->empty();
  }

  static Result<std::string> list_chain(const std::string& table, const std::string& chain) {
    const auto found = find_program("iptables-nft");
    if (!found) return failure(kInstall, ENOENT);
    auto text = run(*found, {"-t", table, "-S", chain});
    if (!text && text.error().message.find("incompatible") != std::string::npos) text.error().code = EPROTO;
    return text;
  }

  static Result<> restore(Variant variant, const std::string& text) {
    const auto found = program(variant, "restore");
    if (!found) return failure(kInstall, ENOENT);
    const auto done = run(*found, {"--noflush", kWait}, text);
    if (!done) return tl::make_unexpected(done.error());
    return {};
  }

  // A transaction that changes nothing, to see whether the kernel has this variant at all.
  static Result<> works(Variant variant) {
    return restore(variant, "*filter\n:BONDD-PROBE - [0:0]\n-X BONDD-PROBE\nCOMMIT\n");
  }

  struct Candidate {
    bool readable = false, foreign_rules = false;
  };

  static Candidate look_at(Variant variant) {
    const auto tables = read(variant);
    if (!tables) return {};
    return {true, holds_foreign_rules(tables->tables)};
  }

  // In this order: the one that holds the admin's rules; the machine's alternative; the other.
  Result<Variant> choose() {
    const Variant preferred = alternative().value_or(Variant::kNft);
    const bool preferred_holds = look_at(preferred).foreign_rules;
    const bool other_holds = look_at(other(preferred)).foreign_rules;
    if (preferred_holds && other_holds) {
      warning_ = fmt::format(
          "both iptables-nft and iptables-legacy hold rules on this machine, and every packet passes both; "
          "bondd uses {} (iptables -V), rules of the other may drop its traffic",
          to_string(preferred));
    }
    const Variant first = other_holds && !preferred_holds ? other(preferred) : preferred;
    const auto tried = works(first);
    if (tried) return first;
    const auto second = works(other(first));
    if (second) return other(first);
    return failure(fmt::format("no variant of iptables works here: {}; {}", tried.error().message,
                               second.error().message),
                   tried.error().code);
  }

  // Reads, then writes what is missing in one transaction. Somebody may change a jump between the two;
  // then it fails as a whole and the second try sees the change.
  static Result<> install_into(Variant variant, const Firewall& firewall) {
    Result<> outcome;
    for (int tries = 0; tries < 2; ++tries) {
      const auto there = read_without_stale_jumps(variant, firewall);
      if (!there) return tl::make_unexpected(there.error());
      const auto text = render_install(firewall, there->tables);
      if (!text) return tl::make_unexpected(text.error());
      outcome = text->empty() ? Result<>() : restore(variant, *text);
      if (outcome) break;
      const auto why = unusable_chains(there->kernel, firewall);
      if (!why.empty()) return failure(fmt::format("{}", fmt::join(why, "; ")), outcome.error().code);
    }
    return outcome;
  }

  static Result<Reading> read_without_stale_jumps(Variant variant, const Firewall& firewall) {
    auto there = read(variant);
    if (!there || there->unshown.empty()) return there;
    for (const Table& table : firewall.tables) {
      const NftTable* unshown = there->unshown_table(table.name);
      if (unshown == nullptr) continue;
      if (auto removed = remove_stale_jumps(*unshown, table); !removed)
        return tl::make_unexpected(removed.error());
    }
    return read(variant);
  }

  static Result<> remove_from(Variant variant, const Firewall& firewall) {
    Result<> outcome;
    for (int tries = 0; tries < 2; ++tries) {
      const auto there = read(variant);
      if (!there) {
        if (!may_hold_rules(variant, there.error())) return {};
        return tl::make_unexpected(there.error());
      }
      auto in_use = remove_once(variant, firewall, *there);
      outcome = in_use ? Result<>() : Result<>(tl::make_unexpected(in_use.error()));
      if (!outcome) continue;
      if (in_use->empty()) return {};
      return failure(fmt::format("a chain of bondd's is emptied but stays, for another rule uses it: {}",
                                 fmt::join(*in_use, "; ")),
                     EBUSY);
    }
    return outcome;
  }

  // The rules of others that keep a chain from being deleted.
  static Result<std::vector<std::string>> remove_once(Variant variant, const Firewall& firewall,
                                                      const Reading& there) {
    if (auto checked = check_names(firewall); !checked) return tl::make_unexpected(checked.error());
    Firewall readable;
    std::vector<std::string> in_use;
    for (const Table& table : firewall.tables) {
      const NftTable* unshown = there.unshown_table(table.name);
      if (unshown == nullptr) {
        readable.tables.push_back(table);
        continue;
      }
      auto users = remove_chains(*unshown, table);
      if (!users) return users;
      in_use.insert(in_use.end(), users->begin(), users->end());
    }
    auto removal = render_removal(readable, there.tables);
    if (!removal) return tl::make_unexpected(removal.error());
    if (!removal->text.empty()) {
      if (auto done = restore(variant, removal->text); !done) return tl::make_unexpected(done.error());
    }
    in_use.insert(in_use.end(), removal->in_use.begin(), removal->in_use.end());
    return in_use;
  }

  std::optional<Variant> chosen_;
  std::string warning_;
  std::vector<MarkUse> mark_uses_;
};

}  // namespace

Result<std::unique_ptr<Iptables>> make_iptables() {
  return std::make_unique<SystemIptables>();
}

}  // namespace bondd::rules
