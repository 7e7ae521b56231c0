// Giving up rights for good: what stands between bytes from the Internet and
// the machine. Called once by bondd-engine, before it reads the first datagram.
#pragma once

#include <cstdint>
#include <string>

#include "bondd/base/error.h"

namespace bondd::mlvpn {

// Writes no file, leaves no core file and has bounded memory. Dies with the parent, is not dumpable (no core
// file, no ptrace by equals), becomes `user` (empty: _bondd where that user exists, else nobody), empties all
// capability sets and the bounding set, and sets no_new_privs. A process that is not root stays who it is.
// `parent` is the parent's pid at the start, to notice one that died before this call. Returns what was done:
// "user nobody".
Result<std::string> drop_rights(const std::string& user, int parent);

// What a process does with its sockets.
enum class Speaks : std::uint8_t {
  kDatagrams,    // of options it sets UDP's offloads
  kConnections,  // accepts and ends streams at a socket that listens already; of options it sets when TCP
                 // sends
};

// Installs the seccomp filter: reading, writing and waiting on descriptors it
// has, memory without execution, clocks and randomness, and what `speaks` says; any
// other system call kills the process (SIGSYS). No way back.
Result<> lock_down(Speaks speaks = Speaks::kDatagrams);

}  // namespace bondd::mlvpn
