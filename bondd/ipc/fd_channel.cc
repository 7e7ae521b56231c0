#include "bondd/ipc/fd_channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace bondd::ipc {
namespace {

constexpr int kBufferSize = 1 << 20;

struct alignas(cmsghdr) Rights {
  std::array<char, CMSG_SPACE(FdChannel::kMaxFds * sizeof(int))> bytes{};
};

void take_fds(msghdr& header, std::vector<UniqueFd>& out) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
      out.emplace_back(fd);
    }
  }
}

}  // namespace

Result<std::pair<FdChannel, FdChannel>> FdChannel::make_pair() {
  std::array<int, 2> ends{-1, -1};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return errno_failure("socket pair");
  }
  std::pair<FdChannel, FdChannel> pair{FdChannel(UniqueFd(ends[0])), FdChannel(UniqueFd(ends[1]))};
  for (const int end : ends) (void)setsockopt(end, SOL_SOCKET, SO_SNDBUF, &kBufferSize, sizeof(kBufferSize));
  return pair;
}

Result<FdChannel> FdChannel::adopt(UniqueFd fd) {
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return errno_failure("inherited channel, descriptor " + std::to_string(fd.get()));
  }
  return FdChannel(std::move(fd));
}

Result<> FdChannel::send(std::string_view text, std::span<const int> fds) {
  if (text.size() > kMaxText || fds.size() > kMaxFds) return failure("message too long", EMSGSIZE);
  iovec slice{const_cast<char*>(text.data()), text.size()};
  msghdr header{};
  header.msg_iov = &slice;
  header.msg_iovlen = 1;
  Rights rights;
  if (!fds.empty()) {
    header.msg_control = rights.bytes.data();
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size_bytes());
  }
  if (sendmsg(fd_.get(), &header, MSG_NOSIGNAL) >= 0) return {};
  return errno_failure("send", errno == ECONNRESET ? EPIPE : errno);
}

Result<std::optional<ChannelMessage>> FdChannel::receive() {
  ChannelMessage message;
  message.text.resize(kMaxText);
  iovec slice{message.text.data(), message.text.size()};
  Rights rights;
  msghdr header{};
  header.msg_iov = &slice;
  header.msg_iovlen = 1;
  header.msg_control = rights.bytes.data();
  header.msg_controllen = rights.bytes.size();
  const ssize_t got = recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return std::optional<ChannelMessage>{};
    return errno_failure("receive", errno == ECONNRESET ? EPIPE : errno);
  }
  take_fds(header, message.fds);
  if (got == 0) return failure("the other end is gone", EPIPE);
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return failure("message was cut", EMSGSIZE);
  message.text.resize(static_cast<std::size_t>(got));
  return std::optional<ChannelMessage>{std::move(message)};
}

}  // namespace bondd::ipc
