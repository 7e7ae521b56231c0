// `bondd config --effective`.
#include "bondd/config/effective.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "bondd/config/schema.h"

namespace bondd::config {
namespace {

using ::testing::HasSubstr;

constexpr const char* kOffice = R"(role = "client"
backend = "mlvpn"
[server]
address = "203.0.113.10"
[bond]
address = "172.16.16.2/30"
peer = "172.16.16.1"
[[wan]]
name = "ovh"
port = 5080
upload = "1mbit"
[[wan]]
name = "orange"
port = 5081
fallback_only = true
[routes]
through_bond = ["0.0.0.0/1", "128.0.0.0/1"]
[mlvpn]
password_file = "a \"b\".password"
[[policy]]
name = "games"
wan = "ovh"
match = [{ proto = "udp", dport = 5 }]
)";

const Setting* find(const std::vector<Setting>& settings, const std::string& key) {
  const auto found = std::ranges::find(settings, key, &Setting::key);
  return found == settings.end() ? nullptr : &*found;
}

TEST(Effective, HasWhatIsWrittenWithItsLineAndDefaultsWithout) {
  const auto settings = effective(kOffice).value();
  const std::vector<Setting> expected = {{"role", "\"client\"", 1},
                                         {"server.address", "\"203.0.113.10\"", 4},
                                         {"bond.interface", "\"bond0\"", 0},
                                         {"bond.arp_interval", "\"300ms\"", 0},
                                         {"wan[1].upload", "\"1mbit\"", 11},
                                         {"wan[2].fallback_only", "true", 15},
                                         {"wan[1].fallback_only", "false", 0},
                                         {"wan[1].download", "", 0},
                                         {"routes.through_bond", "[\"0.0.0.0/1\", \"128.0.0.0/1\"]", 17},
                                         {"mlvpn.password_file", "\"a \\\"b\\\".password\"", 19},
                                         {"mlvpn.timeout", "\"30s\"", 0},
                                         {"policy[1].match[1].dport", "5", 23},
                                         {"policy[1].match[1].sport", "", 0}};
  for (const Setting& one : expected) {
    const Setting* const found = find(settings, one.key);
    ASSERT_NE(found, nullptr) << one.key;
    EXPECT_EQ(*found, one) << one.key << " = " << found->value << " of line " << found->line;
  }
}

TEST(Effective, LeavesOutTheOtherSideAndTheOtherBackend) {
  const auto settings = effective(kOffice).value();
  for (const char* key : {"openvpn.auth", "nat.masquerade", "forward[1].proto"})
    EXPECT_EQ(find(settings, key), nullptr) << key;
}

TEST(Effective, EveryKeyOfAnOfficeIsThere) {
  const auto settings = effective(kOffice).value();
  for (const Key& key : keys()) {
    if (!includes(key.side, Side::kClient) || key.table == "openvpn" || key.type == Type::kTables) continue;
    const bool there = std::ranges::any_of(settings, [&](const Setting& one) {
      return one.key == key.name || one.key.ends_with("." + std::string(key.name));
    });
    EXPECT_TRUE(there) << key.table << "." << key.name;
  }
}

TEST(Effective, IsOneLineEachWithItsPlace) {
  const std::string text = to_text(effective(kOffice).value(), "/etc/bondd/office.toml");
  EXPECT_THAT(text, HasSubstr("wan[1].port = 5080                        # office.toml:10\n"));
  EXPECT_THAT(text, HasSubstr("bond.interface = \"bond0\"                  # default\n"));
  EXPECT_THAT(text, HasSubstr("wan[1].download = (not set)               # default\n"));
  EXPECT_THAT(text, HasSubstr("the largest that fits every line unfragmented  # default\n"));
}

TEST(Effective, SyntaxErrorsAreErrors) {
  EXPECT_FALSE(effective("role = ").has_value());
}

}  // namespace
}  // namespace bondd::config
