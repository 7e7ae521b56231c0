// The connection to one openvpn's management socket. While it stands openvpn lives: the
// profile has management-signal, so that openvpn ends when bondd is gone, however it went.
// (The kernel's own way, PR_SET_PDEATHSIG, is forgotten when openvpn changes its user.)
#pragma once

#include <filesystem>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "openvpn-profiles/management.h"

namespace bondd::control {

class ManagementClient {
 public:
  // Connects and asks for state messages. Never blocks. Fails with ENOENT or ECONNREFUSED
  // while openvpn has not made the socket yet: try again shortly.
  static Result<ManagementClient> connect(const std::filesystem::path& socket);

  [[nodiscard]] int fd() const { return fd_.get(); }  // readable: call receive()
  // What has come. `closed` says that openvpn is gone.
  struct Received {
    std::vector<openvpn::Message> messages;
    bool closed = false;
  };
  Received receive();

 private:
  explicit ManagementClient(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  openvpn::MessageReader reader_;
};

}  // namespace bondd::control
