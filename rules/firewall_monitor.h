// Whether somebody changed firewall rules, so that bondd looks again at once and not at its next regular
// look.
//
//   nf_tables      the kernel's multicast group: a message per change
//   x_tables       tells nobody; its tables' sizes are asked for, two system calls a table
#pragma once

#include <map>
#include <string>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"

namespace bondd::rules {

class FirewallMonitor {
 public:
  // Works on every kernel: what it lacks is not watched.
  static FirewallMonitor create();

  // Readable when nf_tables changed; -1 where the kernel has none. Own changes count, too.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Empties the socket. True if a table, chain or rule changed, or if messages were lost; a set's elements,
  // which programs such as fail2ban change all the time, do not count.
  bool drain();
  // True if x_tables' tables are others, or of another size, than at the last call. 10 us.
  bool legacy_changed();

 private:
  UniqueFd fd_, raw_;
  std::map<std::string, std::string> sizes_;  // by table, what IPT_SO_GET_INFO says
  bool asked_ = false;
};

}  // namespace bondd::rules
