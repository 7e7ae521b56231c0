// iptables' rules in their words as the values that the rules of nf_tables are read into, so that one machine
// tells what either kind does with a packet. For the older x_tables, which no netlink shows, and for rules
// that are only planned.
//
// Only for this directory's .cc files and tests.
#pragma once

#include <string>

#include "rules/firewall.h"
#include "rules/nft_ruleset.h"
#include "rules/save_file.h"

namespace bondd::rules {

// `legacy`: the program that changes the table, "iptables-legacy"; empty: it is one of nf_tables. What of a
// rule's words is not known makes it a rule that may fit or not.
NftTable xt_table(const SavedTable& table, const std::string& legacy);

// The ruleset as it is once `planned` is installed: chains that are missing, and the jumps to them.
void add_planned(NftRuleset& ruleset, const Firewall& planned, const std::string& legacy);

}  // namespace bondd::rules
