#include "netlink/socket.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>

namespace bondd::netlink {
namespace {

constexpr int kDumpTries = 10;
constexpr std::size_t kBufferSize = 1 << 16;  // dumps come in packets of up to 32 KiB

// "Nexthop has invalid gateway (Network is unreachable)", or only the latter.
tl::unexpected<Error> kernel_failure(int code, const std::string& extended) {
  std::string text = std::generic_category().message(code);
  if (!extended.empty()) text = fmt::format("{} ({})", extended, text);
  if (code == EPERM || code == EACCES) text += "; this needs root or CAP_NET_ADMIN";
  return failure(std::move(text), code);
}

// The text of NLMSGERR_ATTR_MSG, after the nlmsgerr and the part of our request that it quotes.
std::string extended_text(const nlmsghdr* message, const nlmsgerr* error) {
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return "";
  std::size_t skip = sizeof(nlmsgerr);
  const bool quoted = (message->nlmsg_flags & NLM_F_CAPPED) == 0 && error->error != 0;
  if (quoted) skip += error->msg.nlmsg_len - sizeof(nlmsghdr);
  skip = NLMSG_ALIGN(skip);
  const std::size_t size = mnl_nlmsg_get_payload_len(message);
  if (skip >= size) return "";
  return Attributes(static_cast<const char*>(mnl_nlmsg_get_payload(message)) + skip, size - skip)
      .text(NLMSGERR_ATTR_MSG);
}

Result<> error_of(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(nlmsgerr)) return errno_failure("netlink", EBADMSG);
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  if (error->error == 0) return {};
  return kernel_failure(-error->error, extended_text(message, error));
}

// NLMSG_DONE ends a dump and carries its error, if any.
Result<> error_of_done(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(int)) return {};
  int code = 0;
  std::memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
  if (code >= 0) return {};
  return kernel_failure(-code, "");
}

}  // namespace

Socket::Socket(std::unique_ptr<mnl_socket, Close> socket)
    : socket_(std::move(socket)), buffer_(kBufferSize) {}

Result<Socket> Socket::open() {
  std::unique_ptr<mnl_socket, Close> socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC));
  if (!socket) return errno_failure("netlink socket");
  if (mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return errno_failure("netlink bind");
  int on = 1;
  // Older kernels lack them; then errors have only their number and dumps are filtered here.
  for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    mnl_socket_setsockopt(socket.get(), option, &on, sizeof(on));
  }
  return Socket(std::move(socket));
}

Result<> Socket::send(Message& message) {
  nlmsghdr* header = message.get();
  header->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0) return errno_failure("netlink send");
  return {};
}

Result<std::size_t> Socket::receive_packet() {
  for (;;) {
    const ssize_t size = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (size >= 0) return static_cast<std::size_t>(size);
    if (errno != EINTR) return errno_failure("netlink receive");
  }
}

// Reads until our request is acknowledged or its dump is done. Answers to earlier,
// abandoned requests are passed over.
Result<Socket::Outcome> Socket::receive(const Take& take) {
  Outcome outcome;
  for (;;) {
    const auto size = receive_packet();
    if (!size) return tl::make_unexpected(size.error());
    int left = static_cast<int>(*size);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) outcome.interrupted = true;
      if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
        const auto end = message->nlmsg_type == NLMSG_ERROR ? error_of(message) : error_of_done(message);
        if (!end) return tl::make_unexpected(end.error());
        return outcome;
      }
      take(message);
    }
  }
}

Result<> Socket::get(Message& message, const Take& take) {
  message.get()->nlmsg_flags |= NLM_F_ACK;
  if (auto sent = send(message); !sent) return sent;
  const auto outcome = receive(take);
  if (!outcome) return tl::make_unexpected(outcome.error());
  return {};
}

Result<> Socket::request(Message& message) {
  return get(message, [](const nlmsghdr*) {});
}

Result<> Socket::dump(Message& message, const std::function<void()>& restart, const Take& take) {
  message.get()->nlmsg_flags |= NLM_F_DUMP;
  for (int tries = 0; tries < kDumpTries; ++tries) {
    restart();
    if (auto sent = send(message); !sent) return sent;
    const auto outcome = receive(take);
    if (!outcome) return tl::make_unexpected(outcome.error());
    if (!outcome->interrupted) return {};
  }
  return failure("the kernel's tables change faster than they can be read", EINTR);
}

}  // namespace bondd::netlink
