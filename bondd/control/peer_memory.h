// What the other end of an mlvpn bond proved once, over restarts of bondd: that it agrees on session keys.
// Without this a recording of the time before, or who holds the lines while both ends start, may pass for an
// original program, and what is sent goes under the password's key.
//
//   /var/lib/bondd/SITE.peer   a mark of the password's key: with another password it is another peer
#pragma once

#include <filesystem>
#include <string>

#include "bondd/base/error.h"

namespace bondd::control {

class PeerMemory {
 public:
  PeerMemory(std::filesystem::path directory, const std::string& site);

  // Whether it was noted under this mark. What cannot be read was not.
  [[nodiscard]] bool proved(const std::string& mark) const;
  // Makes the directory if need be. The file is the owner's alone.
  Result<> note(const std::string& mark);
  void forget();

 private:
  std::filesystem::path directory_, file_;
};

}  // namespace bondd::control
