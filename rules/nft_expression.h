// One expression of a rule out of libnftnl. Only for this directory's .cc files.
#pragma once

#include "rules/nft_ruleset.h"

struct nftnl_expr;

namespace bondd::rules {

// What bondd does not know becomes NftUnknown, or a load of something unknown.
NftExpression decode_expression(const nftnl_expr* expression);
// What a target of iptables' own does; the verdicts among them end the rule. "CT" without its options.
NftExpression xt_target(std::string_view name);
// A match of iptables' own that bondd does not read.
NftUnknown unknown_match(std::string_view name);
// NF_ACCEPT, NFT_JUMP and their like.
NftVerdict::Kind verdict_kind(int code);

}  // namespace bondd::rules
