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

// What a server says to `question`: these addresses.
std::vector<std::uint8_t> reply(std::vector<std::uint8_t> question,
                                std::initializer_list<const char*> addresses) {
  question[2] |= 0x80;  // an answer
  question[7] = static_cast<std::uint8_t>(addresses.size());
  for (const char* text : addresses) {
    const IpAddress address = ip(text);
    const auto type = static_cast<std::uint8_t>(address.is_v4() ? 1 : 28);
    const auto size = static_cast<std::uint8_t>(address.size());
    for (const int byte : {0xc0, 12, 0, int{type}, 0, 1, 0, 0, 0, 60, 0, int{size}})
      question.push_back(static_cast<std::uint8_t>(byte));
    question.insert(question.end(), address.data(), address.data() + size);
  }
  return question;
}

NameAnswers answers() {
  return NameAnswers::to("vps.example", [](const IpAddress& address) { return !address.is_unspecified(); })
      .value();
}

TEST(NameAnswers, AnAddressWhereNoServerIsDoesNotEndTheSearch) {
  NameAnswers all = answers();
  const auto& question = all.questions().front();
  EXPECT_FALSE(all.handle(reply(question, {"0.0.0.0"})));
  EXPECT_THAT(all.best(), ElementsAre(ip("0.0.0.0")));
  EXPECT_TRUE(all.handle(reply(question, {"203.0.113.10"})));
  EXPECT_THAT(all.best(), ElementsAre(ip("203.0.113.10")));
  EXPECT_TRUE(all.handle(reply(question, {"203.0.113.20"})));
  EXPECT_THAT(all.best(), ElementsAre(ip("203.0.113.10")));  // the first
}

TEST(NameAnswers, OnlyIPv6IsTheAnswerWhenNothingElseComes) {
  NameAnswers all = answers();
  EXPECT_FALSE(all.handle(reply(all.questions().front(), {})));
  EXPECT_FALSE(all.handle(reply(all.questions().front(), {"0.0.0.0"})));
  EXPECT_FALSE(all.handle(reply(all.questions().back(), {"2001:db8::1"})));
  EXPECT_THAT(all.best(), ElementsAre(ip("2001:db8::1")));
  EXPECT_FALSE(all.handle(std::vector<std::uint8_t>{1, 2, 3}));
}

}  // namespace
}  // namespace bondd::control
