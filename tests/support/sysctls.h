// The settings of a fresh machine with eth0, as far as bondd looks at them.
#pragma once

#include <map>
#include <string>

namespace bondd::testing {

inline std::map<std::string, std::string> fresh_sysctls() {
  return {{"net.ipv4.ip_forward", "0"},
          {"net.ipv4.conf.all.accept_redirects", "1"},
          {"net.ipv4.conf.all.send_redirects", "1"},
          {"net.ipv4.conf.all.rp_filter", "0"},
          {"net.ipv4.conf.eth0.accept_redirects", "1"},
          {"net.ipv4.conf.eth0.send_redirects", "1"},
          {"net.ipv4.conf.eth0.rp_filter", "1"},
          {"net.ipv4.conf.eth0.forwarding", "0"}};
}

}  // namespace bondd::testing
