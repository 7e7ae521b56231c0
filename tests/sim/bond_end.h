// One end of a simulated bond of two lines: a program with a tun and two sockets.
#pragma once

#include "bondd/mlvpn/core/types.h"
#include "tests/sim/packet.h"

namespace bondd::sim {

class BondEnd : public PacketSink {
 public:
  // The lines that its datagrams leave by.
  virtual void connect(PacketSink& a, PacketSink& b) = 0;
  // From a line; the bytes may be changed. PacketSink::receive is what comes from the host.
  virtual void receive_datagram(TimePoint now, mlvpn::LinkId line, Packet& datagram,
                                const mlvpn::Endpoint& from) = 0;
};

}  // namespace bondd::sim
