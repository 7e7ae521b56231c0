// What leaves a bug report before it is written.
#include "bondd/main/redact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bondd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Redactor, KnownSecretsAreRemovedWhereverTheyStand) {
  Redactor redactor(false);
  redactor.add_secret("correct horse battery\n");
  redactor.add_secret("# static key\n-----BEGIN OpenVPN Static key V1-----\n0123456789abcdef\nfedc\n");
  EXPECT_EQ(redactor.clean("x=correct horse battery; y\nkey 0123456789abcdef!"),
            "x=[removed]; y\nkey [removed]!");
}

TEST(Redactor, PemBlocksTokensAndPasswordsInSettingsAreRemoved) {
  Redactor redactor(false);
  EXPECT_EQ(redactor.clean("a\n-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\nb\n"),
            "a\n[removed]\nb\n");
  EXPECT_EQ(redactor.clean("token bondd1-abc_DEF-9, next"), "token [removed], next");
  EXPECT_EQ(redactor.clean("Password = \"x\"  # y"), "Password = [removed]");
  EXPECT_EQ(redactor.clean("\"secret\": \"x\""), "\"secret\": [removed]");
  EXPECT_EQ(redactor.clean("an unfinished -----BEGIN RSA PRIVATE KEY-----\nMIIB"), "[removed]\n");
}

TEST(Redactor, WhatIsNoSecretStays) {
  Redactor redactor(false);
  redactor.add_secret("eth0\n");
  const std::string text =
      "password_file = \"office.password\"\nthe password of the two ends differs\n203.0.113.10 eth0\n";
  EXPECT_EQ(redactor.clean(text), text);
}

TEST(Redactor, PublicAddressesBecomeNumbersAndPrivateOnesStay) {
  Redactor redactor(true);
  redactor.add_name("vps.example.org", "server");
  EXPECT_EQ(redactor.clean("203.0.113.10:5080 via 192.168.1.254 dev eth0, 203.0.113.10/32 and 198.51.100.7."),
            "ip-1:5080 via 192.168.1.254 dev eth0, ip-1/32 and ip-2.");
  EXPECT_EQ(
      redactor.clean(
          "link/ether 52:54:00:aa:bb:cc inet6 2001:db8::1/64 fe80::1 at 02:05:41 lookup vps.example.org"),
      "link/ether mac-1 inet6 ip-3/64 ip-4 at 02:05:41 lookup server");
  EXPECT_EQ(redactor.clean("203.0.113.10 again, version 1.2.3, dead.beef, 172.16.16.1"),
            "ip-1 again, version 1.2.3, dead.beef, 172.16.16.1");
  EXPECT_EQ(Redactor(false).clean("203.0.113.10"), "203.0.113.10");
}

TEST(Redactor, SurvivesAnyBytes) {
  Redactor redactor(true);
  redactor.add_secret("\n\n\r");
  std::string bytes;
  for (int i = 0; i < 2000; ++i) bytes += static_cast<char>(i * 37);
  EXPECT_FALSE(redactor.clean(bytes).empty());
  EXPECT_EQ(redactor.clean(""), "");
  EXPECT_EQ(redactor.clean("...:::"), "...:::");
}

}  // namespace
}  // namespace bondd
