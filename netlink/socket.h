// A NETLINK_ROUTE socket: one request at a time, with the kernel's own words for errors.
// Only for this directory's .cc files.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "bondd/base/error.h"
#include "netlink/message.h"

namespace bondd::netlink {

class Socket {
 public:
  // Opens it in the calling thread's network namespace and stays there.
  static Result<Socket> open();

  // Sends and waits for the acknowledgement. The error has the extended ack's text where the
  // kernel gave one.
  Result<> request(Message& message);
  // As request(), and gives the one message that answers to `take`.
  using Take = std::function<void(const nlmsghdr*)>;
  Result<> get(Message& message, const Take& take);
  // Asks for all objects. A dump that a change interrupted is repeated, at most 10 times;
  // `restart` is called before each try and forgets what `take` got.
  Result<> dump(Message& message, const std::function<void()>& restart, const Take& take);

 private:
  struct Close {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  struct Outcome {
    bool interrupted = false;
  };

  explicit Socket(std::unique_ptr<mnl_socket, Close> socket);
  Result<> send(Message& message);
  Result<Outcome> receive(const Take& take);
  Result<std::size_t> receive_packet();

  std::unique_ptr<mnl_socket, Close> socket_;
  std::uint32_t sequence_ = 0;
  std::vector<char> buffer_;
};

}  // namespace bondd::netlink
