// Firewall values to and from a running iptables, nft or legacy variant.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "rules/firewall.h"

namespace bondd::rules {

enum class Variant : std::uint8_t { kNft, kLegacy };
std::string_view to_string(Variant variant);  // "nft", "legacy"

// iptables-restore --noflush text that makes the chains exactly as given (declaring a
// chain empties it) and nothing else; the jumps are separate (check, then insert).
std::string render_restore(const Firewall& firewall);
// The text that removes these chains and their jumps in one transaction.
std::string render_remove(const Firewall& firewall);
// For people: the same as `iptables -t … -N/-A/-I …` lines.
std::vector<std::string> render_commands(const Firewall& firewall);

// Chains whose name starts with `prefix`, and the jumps to them, out of iptables-save text.
// Rules are kept as their words.
Result<Firewall> parse_save(std::string_view text, std::string_view prefix);

// Which matches and targets a firewall uses that this machine's libxtables does not
// have, with what to install. Empty: all there. Needs no privileges.
std::vector<std::string> missing_extensions(const Firewall& firewall);

// A seam around the programs iptables-{nft,legacy}-{restore,save}; none of it goes through a shell.
class Iptables {
 public:
  virtual ~Iptables() = default;
  // The variant that this machine uses: where rules already are, else what works
  // here, the machine's alternative first. Fails with what to install.
  virtual Result<Variant> variant() = 0;
  // What is there of chains with that prefix, in either variant's tables.
  virtual Result<Firewall> observe(std::string_view chain_prefix) = 0;
  // Makes chains and jumps as in `firewall`. One restore transaction (-w), then the jumps.
  virtual Result<> install(const Firewall& firewall) = 0;
  // Removes the chains and jumps of `firewall` in whichever variant holds them.
  virtual Result<> remove(const Firewall& firewall) = 0;
};
Result<std::unique_ptr<Iptables>> make_iptables();

}  // namespace bondd::rules
