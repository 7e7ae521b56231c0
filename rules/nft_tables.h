// The tables that iptables-nft makes with its built-in chains on first use and never
// removes, and the built-in chains that it adds to others' tables. A machine without them shall be without
// them again.
#pragma once

#include <string>
#include <vector>

#include "bondd/base/error.h"

namespace bondd::rules {

// Names of nf_tables' IPv4 tables. Fails where the kernel has no nf_tables, or without
// CAP_NET_ADMIN.
Result<std::vector<std::string>> nft_tables();

// Deletes an IPv4 table whose chains are all built-in ones with the policy ACCEPT and without
// rules; does nothing to any other. One transaction, and the kernel itself refuses it
// (EBUSY, which is success here) when somebody adds a rule meanwhile. See nft(8).
Result<> delete_unused_nft_table(const std::string& table);

// IPv4 chains that are hooked into the kernel, as "TABLE CHAIN". Errors as of nft_tables().
Result<std::vector<std::string>> nft_base_chains();

// Deletes the IPv4 chain `name` ("TABLE CHAIN") if it is hooked, accepts and has no rules; else does nothing.
Result<> delete_unused_nft_chain(const std::string& name);

}  // namespace bondd::rules
