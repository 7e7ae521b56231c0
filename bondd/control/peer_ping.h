// Asks the far end of the bond for an echo, through the bond and nothing else: the
// proof that the bond carries traffic both ways.
#pragma once

#include <memory>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/base/unique_fd.h"
#include "bondd/control/event_loop.h"

namespace bondd::control {

class PeerPing {
 public:
  // `on_answer` is called on the loop for every answer. Fails for IPv6 peers (EAFNOSUPPORT) and
  // without CAP_NET_RAW.
  static Result<std::unique_ptr<PeerPing>> create(EventLoop& loop, const std::string& device,
                                                  const IpAddress& peer, std::function<void()> on_answer);
  // Sends one request; the device may be missing or down (then nothing leaves).
  void send();

 private:
  PeerPing(UniqueFd fd, const IpAddress& peer, std::function<void()> on_answer);
  void receive();

  UniqueFd fd_;
  IpAddress peer_;
  std::function<void()> on_answer_;
  std::uint16_t id_, sequence_ = 0;
  Registration watch_;
};

}  // namespace bondd::control
