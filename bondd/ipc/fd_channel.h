// Messages with descriptors between two processes of bondd, over a
// SOCK_SEQPACKET socket pair: one send is one receive, whole.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"

namespace bondd::ipc {

struct ChannelMessage {
  std::string text;
  std::vector<UniqueFd> fds;  // CLOEXEC
};

class FdChannel {
 public:
  static constexpr std::size_t kMaxText = 128 << 10;
  static constexpr std::size_t kMaxFds = 64;

  // Two connected ends, both CLOEXEC and non-blocking.
  static Result<std::pair<FdChannel, FdChannel>> make_pair();
  // Takes over an inherited end and makes it non-blocking and CLOEXEC.
  static Result<FdChannel> adopt(UniqueFd fd);

  [[nodiscard]] int fd() const { return fd_.get(); }

  // Sends at once or fails; Error::code is EAGAIN when the other end does not
  // read fast enough and EPIPE when it is gone. The descriptors stay the caller's.
  Result<> send(std::string_view text, std::span<const int> fds = {});

  // The next message; nothing when there is none now. Fails with code EPIPE when
  // the other end is gone. Never blocks.
  Result<std::optional<ChannelMessage>> receive();

 private:
  explicit FdChannel(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace bondd::ipc
