#include "bondd/control/name_servers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/support/print.h"
#include "tests/unit/plan_fixture.h"

namespace bondd::control {
namespace {

using plan::testing::ip;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

ReadFile files(std::map<std::string, std::string> all) {
  return [all = std::move(all)](const char* path) -> std::optional<std::string> {
    const auto found = all.find(path);
    return found == all.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(NameServers, AreReadAsTheSystemReadsThem) {
  EXPECT_THAT(
      name_servers_in("# nameserver 192.0.2.1\nsearch example.org\n  nameserver\t192.0.2.2 # box\r\n"
                      "nameserver 2001:db8::1\nnameserver 192.0.2.2\nnameservers 192.0.2.3\nnameserver\n"
                      "nameserver 192.0.2.4"),
      ElementsAre(ip("192.0.2.2"), ip("192.0.2.4")));
}

TEST(NameServers, OfAStubAreThoseThatItAsks) {
  const std::string stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\n";
  EXPECT_THAT(upstream_name_servers(files({{"/etc/resolv.conf", stub},
                                           {"/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n"}})),
              ElementsAre(ip("192.0.2.53")));
  EXPECT_THAT(
      upstream_name_servers(
          files({{"/etc/resolv.conf", "nameserver 127.0.0.1\n"},
                 {"/run/NetworkManager/no-stub-resolv.conf", "nameserver 192.0.2.54\nnameserver 127.0.0.1\n"},
                 {"/run/dnsmasq/resolv.conf", "nameserver 192.0.2.54\nnameserver 192.0.2.55\n"}})),
      ElementsAre(ip("192.0.2.54"), ip("192.0.2.55")));
}

TEST(NameServers, WrittenDirectlyAreTheOnlyOnes) {
  EXPECT_THAT(
      upstream_name_servers(files({{"/etc/resolv.conf", "nameserver 192.0.2.1\nnameserver 127.0.0.1\n"},
                                   {"/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n"}})),
      ElementsAre(ip("192.0.2.1")));
  EXPECT_THAT(upstream_name_servers(files({})), IsEmpty());
}

}  // namespace
}  // namespace bondd::control
