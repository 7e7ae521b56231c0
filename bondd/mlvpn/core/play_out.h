// Play-out delay, as of voice over IP: of a line that jitters, packets that came early are
// handed on as late as most others come.
//
// It is there for bulk over UDP. HyStart++ (RFC 9406) ends QUIC's slow start when the least
// round trip of a round is an eighth above that of the round before. A line that jitters
// and keeps the order of packets shows just that to a flow that grows: the more packets are
// on the way, the fewer of them come earlier than the worst of those before them.
#pragma once

#include <cstdint>

#include "bondd/base/units.h"

namespace bondd::mlvpn {

// Of one line, by the timestamps of the peer's packets; the two clocks need not agree.
class PlayOut {
 public:
  // An authentic packet came that the peer stamped with `timestamp`, ms mod 2^16.
  void on_packet(TimePoint now, std::uint16_t timestamp);
  // For how long the packet that came last is to be kept; 0 on a line that does not jitter,
  // at most 60 ms.
  [[nodiscard]] Duration hold() const;

 private:
  double way_ms_ = 0;     // of the last packet, and the clocks' difference
  double usual_ms_ = 0;   // mean of the last samples
  double spread_ms_ = 0;  // their mean deviation from it
  unsigned samples_ = 0;
  TimePoint sampled_{};
};

}  // namespace bondd::mlvpn
