// The running iptables: which variant, what is there, install and remove.
//
// Two variants can hold rules side by side in one kernel, nf_tables and the older x_tables, and
// both see every packet. bondd joins the one where the admin's rules are, reads both, and clears
// up in both.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "bondd/supervise/run_program.h"
#include "rules/iptables.h"
#include "rules/save_file.h"

namespace bondd::rules {
namespace {

using supervise::find_program;
using supervise::run_program;

constexpr std::array kVariants{Variant::kNft, Variant::kLegacy};
constexpr auto kTimeout = std::chrono::seconds(15);
constexpr const char* kWait = "--wait=5";  // for /run/xtables.lock
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

bool is_ours(std::string_view chain) {
  return chain.starts_with("BONDD-");
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

  Result<Firewall> observe(const ChainFilter& filter) override {
    Firewall seen;
    std::optional<Error> trouble;
    bool any = false;
    for (const Variant variant : kVariants) {
      const auto text = save(variant);
      if (!text) {
        if (!trouble || text.error().code == EPERM) trouble = text.error();
        continue;
      }
      auto part = parse_save(*text, filter);
      if (!part) return part;
      seen = merged(std::move(seen), *part);
      any = true;
    }
    if (!any || (trouble && trouble->code == EPERM)) return tl::make_unexpected(*trouble);
    return seen;
  }

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

  static Result<std::vector<SavedTable>> read(Variant variant) {
    const auto text = save(variant);
    if (!text) return tl::make_unexpected(text.error());
    return parse_tables(*text);
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
    return {true, holds_foreign_rules(*tables)};
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
      const auto there = read(variant);
      if (!there) return tl::make_unexpected(there.error());
      const auto text = render_install(firewall, *there);
      if (!text) return tl::make_unexpected(text.error());
      outcome = text->empty() ? Result<>() : restore(variant, *text);
      if (outcome) break;
    }
    return outcome;
  }

  static Result<> remove_from(Variant variant, const Firewall& firewall) {
    Result<> outcome;
    for (int tries = 0; tries < 2; ++tries) {
      const auto there = read(variant);
      if (!there)
        return there.error().code == EPERM ? Result<>(tl::make_unexpected(there.error())) : Result<>();
      const auto removal = render_removal(firewall, *there);
      if (!removal) return tl::make_unexpected(removal.error());
      outcome = removal->text.empty() ? Result<>() : restore(variant, removal->text);
      if (!outcome) continue;
      if (removal->in_use.empty()) return {};
      return failure(fmt::format("a chain of bondd's is emptied but stays, for another rule uses it: {}",
                                 fmt::join(removal->in_use, "; ")),
                     EBUSY);
    }
    return outcome;
  }

  std::optional<Variant> chosen_;
  std::string warning_;
};

}  // namespace

Result<std::unique_ptr<Iptables>> make_iptables() {
  return std::make_unique<SystemIptables>();
}

}  // namespace bondd::rules
