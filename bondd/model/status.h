// What `bondd status` shows. The JSON form is fixed by the contract.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bondd::model {

struct WanStatus {
  std::string name;
  std::string state;   // "up", "down", or a word of the backend: "starting", "lossy", "slow"
  std::string reason;  // in words for the admin, empty when up
  std::optional<double> rtt_ms, loss_percent;
  std::optional<std::uint64_t> rx_bytes, tx_bytes;
  // The mlvpn backend measures these; null elsewhere.
  std::optional<double> capacity_mbit, share_percent, queue_ms;
  std::string explanation;  // "12 % of traffic; 40 ms slower than ovh"
};

struct SiteStatus {
  std::string name, role, backend;
  std::string state;  // "up": all WANs carry, "degraded": some, "down": none
  std::string bond_interface;
  std::optional<std::uint64_t> bond_rx_bytes, bond_tx_bytes;
  std::vector<WanStatus> wans;
  std::vector<std::string> warnings;  // what the admin should know, such as lines too unlike for this backend
};

}  // namespace bondd::model
