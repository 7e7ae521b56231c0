// TCP acknowledgements without anything else in them. They need no order: each says all
// that those before it said. Of an upstream peer, which sends its packets over its links
// in turn, half of them come late, and what waits for them waits for nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bondd/mlvpn/core/flow_queue.h"

namespace bondd::mlvpn {

struct BareAck {
  std::uint64_t flow = 0;    // addresses and ports, mixed
  std::uint32_t number = 0;  // what it acknowledges
  bool selective = false;    // and says which later bytes came
};

// Nothing for any other packet: payload, SYN, FIN, RST, ECN echoes, fragments.
std::optional<BareAck> bare_ack(std::span<const std::uint8_t> packet);

// Finds acknowledgements that say less than one that came before.
class NewestAcks {
 public:
  NewestAcks() : flows_(kFlowBuckets) {}
  // True when all that `ack` says is known already. One that repeats the newest number, or
  // has ranges to tell, is never outdated.
  bool outdated(const BareAck& ack);

 private:
  struct Flow {
    std::uint64_t flow = 0;
    std::uint32_t number = 0;
  };
  std::vector<Flow> flows_;
};

}  // namespace bondd::mlvpn
