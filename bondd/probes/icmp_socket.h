// Sockets for the requests of a WayProbe: a raw one for ICMP, echo requests with a mark and a hop limit
// out, answers in, and one for empty UDP datagrams. The raw one also hears what routers say of other
// packets of this machine, such as "nothing listens on that UDP port".
#pragma once

#include <cstdint>
#include <optional>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "bondd/probes/way_probe.h"

namespace bondd::probes {

class IcmpSocket {
 public:
  // EPERM without CAP_NET_RAW. `id` goes into the requests; answers to other ids are left out.
  static Result<IcmpSocket> open(std::uint16_t id);
  [[nodiscard]] int fd() const { return fd_.get(); }
  // What cannot be sent counts as not answered.
  void send(const WayProbe::Request& request);
  // The next answer; nothing when there is none now. Never blocks.
  std::optional<IcmpAnswer> receive();

 private:
  IcmpSocket(UniqueFd fd, UniqueFd udp, std::uint16_t id)
      : fd_(std::move(fd)), udp_(std::move(udp)), id_(id) {}
  UniqueFd fd_, udp_;
  std::uint16_t id_ = 0;
};

}  // namespace bondd::probes
