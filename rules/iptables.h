// Firewall values to and from a running iptables, nft or legacy variant.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "rules/firewall.h"
#include "rules/nft_ruleset.h"

namespace bondd::rules {

enum class Variant : std::uint8_t { kNft, kLegacy };
std::string_view to_string(Variant variant);  // "nft", "legacy"

// Which own chains are meant: prefix PART suffix, where PART has no '-' when there is a
// suffix. So {"BONDD-", "-office"} is "BONDD-FWD-office" but not "BONDD-FWD-new-office".
struct ChainFilter {
  std::string prefix = "BONDD-";
  std::string suffix;  // see model::chain_suffix; empty: every chain with the prefix

  [[nodiscard]] bool matches(std::string_view chain) const;
};

// `rule` in the words that iptables-save prints for it: "-s -d -i -o -p" in this order and
// first, "/32" after a host, "-m tcp" before its options, "--set-xmark 0x…/0x…" for marks,
// numbers for service names. Words that already are canonical come back unchanged. A plan should write
// canonical words; this is the safety net that keeps compare from being fooled.
std::vector<std::string> canonical_rule(const std::vector<std::string>& rule);
// Tables, chains and jumps sorted, empty tables left out, rules canonical.
Firewall canonical(const Firewall& firewall);
// True if the same chains with the same rules and the same jumps are there. The place of a
// jump does not count: it is chosen when it is inserted, and an admin may move it.
bool equivalent(const Firewall& wanted, const Firewall& observed);

// iptables-restore --noflush text that makes the chains exactly as given (declaring a
// chain empties it) and nothing else; the jumps are separate (check, then insert).
// Fails on a name or word that no rule can have: a control character, a name that is too long.
Result<std::string> render_restore(const Firewall& firewall);
// The text that removes these chains and their jumps in one transaction.
Result<std::string> render_remove(const Firewall& firewall);
// For people: the same as `iptables -t … -N/-A/-I …` lines.
std::vector<std::string> render_commands(const Firewall& firewall);

// The chains that `filter` means, and the jumps to them from built-in chains, out of
// iptables-save text. Rules are kept as their words. Jump::first is true when no foreign rule
// stands before it.
Result<Firewall> parse_save(std::string_view text, const ChainFilter& filter);

// Which matches and targets a firewall uses that this machine's libxtables does not
// have, with what to install. Empty: all there. Needs no privileges.
std::vector<std::string> missing_extensions(const Firewall& firewall);

// A seam around the programs iptables-{nft,legacy}-{restore,save}; none of it goes through a shell.
// Blocks while they run, for some milliseconds; for up to 10 s if another holds the lock.
class Iptables {
 public:
  virtual ~Iptables() = default;
  // The variant that this machine uses: where the admin's rules already are, else what works
  // here, the machine's alternative (iptables -V) first. Found out once. Fails with what to install.
  virtual Result<Variant> variant() = 0;
  // What the user should know about the choice, empty when all is well: that both variants hold rules.
  [[nodiscard]] virtual std::string warning() const { return {}; }
  // What keeps `firewall` from being installed, with what to do; empty when nothing is known to.
  [[nodiscard]] virtual std::vector<std::string> obstacles(const Firewall& /*firewall*/) { return {}; }
  // Rules of others that have to do with forwarded packets, a text each: "-t nat -A POSTROUTING … -j
  // MASQUERADE". Who has such rules may need the kernel to forward. What cannot be read is left out.
  [[nodiscard]] virtual std::set<std::string> forwarding_rules() { return {}; }
  // All of nf_tables, also what is not iptables', with the sets that rules look up, and the tables of
  // iptables-legacy that the kernel has. What could not be read is told in NftRuleset::unseen.
  [[nodiscard]] virtual NftRuleset ruleset() { return {}; }
  // The same as it is once `planned` is installed, if none of it is.
  [[nodiscard]] virtual NftRuleset ruleset_with(const Firewall& /*planned*/) { return ruleset(); }
  // What is there of the chains that `filter` means, in either variant's tables; canonical.
  // EPERM without CAP_NET_ADMIN and CAP_NET_RAW. Fails rather than leaving out what it cannot read.
  virtual Result<Firewall> observe(const ChainFilter& filter) = 0;
  // What the last observe() saw of others' rules about marks.
  [[nodiscard]] virtual std::vector<MarkUse> mark_uses() const { return {}; }
  // Makes chains and jumps as in `firewall`, in one transaction: all or nothing. Other chains,
  // also other own ones, stay as they are. A jump that is there stays where it is.
  virtual Result<> install(const Firewall& firewall) = 0;
  // Removes the chains of `firewall` with all plain jumps to them, and its jumps, in whichever
  // variant holds them; one transaction each. What is not there is success. A chain that somebody
  // else's rule jumps to is emptied and stays, which is an error that names the rule. A table
  // that was not used before stays, empty, as after any use of iptables.
  virtual Result<> remove(const Firewall& firewall) = 0;
};
Result<std::unique_ptr<Iptables>> make_iptables();

}  // namespace bondd::rules
