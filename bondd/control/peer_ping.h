// Asks the far end of the bond for an echo, through the bond and nothing else: the
// proof that the bond carries traffic both ways.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/base/unique_fd.h"
#include "bondd/control/event_loop.h"

namespace bondd::control {

class PeerPing {
 public:
  // Of an answer, the number that send() gave its request.
  using OnAnswer = std::function<void(std::uint16_t)>;

  // `on_answer` is called on the loop for every answer. Fails for IPv6 peers (EAFNOSUPPORT) and
  // without CAP_NET_RAW.
  static Result<std::unique_ptr<PeerPing>> create(EventLoop& loop, const std::string& device,
                                                  const IpAddress& peer, OnAnswer on_answer);
  // Sends one request and gives its number; the device may be missing or down (then nothing leaves).
  std::uint16_t send();

 private:
  PeerPing(UniqueFd fd, const IpAddress& peer, OnAnswer on_answer);
  void receive();

  UniqueFd fd_;
  IpAddress peer_;
  OnAnswer on_answer_;
  std::uint16_t id_, sequence_ = 0;
  Registration watch_;
};

}  // namespace bondd::control
