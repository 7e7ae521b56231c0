// What `bondd status` shows. The JSON form is fixed by the contract.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/model/problem.h"
#include "bondd/model/wan_status.h"

namespace bondd::model {

enum class SiteState : std::uint8_t {
  kDown,      // no WAN carries
  kDegraded,  // some do
  kUp,        // all do
};
std::string_view to_string(SiteState state);
std::optional<SiteState> parse_site_state(std::string_view text);
SiteState site_state(const std::vector<WanStatus>& wans);

struct SiteStatus {
  std::string name, role, backend;
  SiteState state = SiteState::kDown;
  std::string bond_interface;
  std::string bond_peer;  // the other end's address in the bond
  std::optional<std::uint64_t> bond_rx_bytes, bond_tx_bytes;
  std::vector<WanStatus> wans;
  std::vector<std::string> warnings;  // what the admin should know, such as lines too unlike for this backend
  std::string version;                // of the bondd that runs
  std::string server;                 // address or name of the server; may be empty on the server itself
  std::int64_t since = 0;             // of the state, seconds since 1970; 0: not known
  std::vector<Problem> problems;      // worst first
  bool operator==(const SiteStatus&) const = default;
};

}  // namespace bondd::model
