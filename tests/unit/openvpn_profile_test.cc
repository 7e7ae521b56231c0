#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "openvpn-profiles/profile.h"

namespace bondd::openvpn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr Version k25{2, 5, 1}, k26{2, 6, 14}, k27{2, 7, 0}, k28{2, 8, 0};

std::string fingerprint() {
  std::string out = "ab";
  for (int i = 1; i < 32; ++i) out += ":CD";
  return out;
}

Profile client(Auth auth) {
  Profile profile;
  profile.role = Role::kClient;
  profile.auth = auth;
  profile.device = "bd0tap1";
  profile.remote = *parse_ip("203.0.113.10");
  profile.remote_port = 1194;
  profile.fwmark = 0x00010000;
  profile.management_socket = "/run/bondd/office/openvpn-ovh-1.sock";
  profile.static_key = "/etc/bondd/bond.key";
  profile.private_key = "/etc/bondd/office.key";
  profile.certificate = "/etc/bondd/office.crt";
  profile.peer_fingerprint = fingerprint();
  profile.tls_crypt = "/run/bondd/office/tls-crypt.key";
  profile.user = "nobody";
  profile.group = "nogroup";
  return profile;
}

Profile server(Auth auth) {
  Profile profile = client(auth);
  profile.role = Role::kServer;
  profile.remote.reset();
  profile.remote_port = 0;
  profile.fwmark = 0;
  profile.local = *parse_ip("203.0.113.10");
  profile.local_port = 1194;
  return profile;
}

TEST(OpenVpnVersion, IsReadFromTheFirstLine) {
  EXPECT_EQ(*parse_version("OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\nlibrary versions"),
            (Version{2, 6, 14}));
  EXPECT_EQ(*parse_version("OpenVPN 2.5.1 arm"), (Version{2, 5, 1}));
  EXPECT_EQ(*parse_version("OpenVPN 2.7_beta1 x"), (Version{2, 7, 0}));
  EXPECT_EQ(*parse_version("OpenVPN 2.7"), (Version{2, 7, 0}));
}

TEST(OpenVpnVersion, OfSomethingElseIsAnError) {
  for (const auto* text : {"", "OpenVPN", "OpenVPN ", "OpenVPN 2", "OpenVPN x.6", "bash: openvpn: not found",
                           "OpenVPN 99999999999999.1", "OpenVPN 2.-6"}) {
    EXPECT_FALSE(parse_version(text)) << text;
  }
}

TEST(OpenVpnProfile, ClientWithStaticKeyLeavesByItsMark) {
  const std::string text = *render(client(Auth::kStaticKey), k26);
  EXPECT_EQ(text,
            "# Written by bondd for openvpn 2.6.14; changes are lost.\n"
            "# The tap is there already; bondd alone gives it its addresses and routes.\n"
            "dev bd0tap1\n"
            "dev-type tap\n"
            "ifconfig-noexec\n"
            "route-noexec\n"
            "tun-mtu 1500\n"
            "mssfix 0\n"
            "proto udp4\n"
            "remote 203.0.113.10 1194\n"
            "nobind\n"
            "mark 65536\n"
            "mtu-disc no\n"
            "# The recipe's shared key. No session: whoever holds the key can read what was recorded.\n"
            "secret /etc/bondd/bond.key\n"
            "cipher AES-256-CBC\n"
            "auth SHA1\n"
            "disable-dco\n"
            "replay-window 512 15\n"
            "# A peer whose clock went back sends nothing but what looks like replays: bondd wants to know.\n"
            "mute 30\n"
            "# bondd watches the tunnel itself: nothing here gives up because the peer is away.\n"
            "ping 5\n"
            "persist-tun\n"
            "persist-key\n"
            "remap-usr1 SIGTERM\n"
            "script-security 0\n"
            "user nobody\n"
            "group nogroup\n"
            "management /run/bondd/office/openvpn-ovh-1.sock unix\n"
            "management-signal\n"
            "verb 3\n"
            "suppress-timestamps\n");
}

TEST(OpenVpnProfile, ServerFollowsItsClient) {
  const std::string text = *render(server(Auth::kTls), k26);
  EXPECT_THAT(text, HasSubstr("local 203.0.113.10\nlport 1194\nfloat\n"));
  EXPECT_THAT(text, HasSubstr("tls-server\n"));
  EXPECT_THAT(text, HasSubstr("peer-fingerprint AB:CD:CD"));
  EXPECT_THAT(text, HasSubstr("tls-version-min 1.3\n"));
  EXPECT_THAT(text, HasSubstr("tls-crypt /run/bondd/office/tls-crypt.key\n"));
  EXPECT_THAT(text, Not(HasSubstr("multihome")));
}

TEST(OpenVpnProfile, ServerOfAllAddressesAnswersFromTheOneAsked) {
  Profile profile = server(Auth::kTls);
  profile.local.reset();
  EXPECT_THAT(*render(profile, k26), HasSubstr("multihome\nlport 1194\n"));
}

TEST(OpenVpnProfile, ClientWithAnAddressBindsToIt) {
  Profile profile = client(Auth::kTls);
  profile.local = *parse_ip("192.168.1.252");
  const std::string text = *render(profile, k26);
  EXPECT_THAT(text, HasSubstr("local 192.168.1.252\nlport 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("nobind")));
}

TEST(OpenVpnProfile, StaticKeysFollowTheVersion) {
  const Profile profile = client(Auth::kStaticKey);
  EXPECT_THAT(*render(profile, k25), Not(HasSubstr("disable-dco")));
  EXPECT_THAT(*render(profile, k26), Not(HasSubstr("allow-deprecated")));
  EXPECT_THAT(*render(profile, k27), HasSubstr("allow-deprecated-insecure-static-crypto\n"));
  const Result<std::string> refused = render(profile, k28);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("has no static keys any more"));
}

TEST(OpenVpnProfile, PinnedCertificatesNeed26) {
  const Result<std::string> refused = render(client(Auth::kTls), k25);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("openvpn 2.5.1 cannot pin"));
  EXPECT_THAT(refused.error().message, HasSubstr("static-key"));
}

TEST(OpenVpnProfile, HostileValuesStayValues) {
  Profile profile = client(Auth::kStaticKey);
  profile.static_key = "/tmp/a\" up \"/bin/sh \\";
  EXPECT_THAT(*render(profile, k26), HasSubstr("secret \"/tmp/a\\\" up \\\"/bin/sh \\\\\"\n"));
  profile.static_key = "/tmp/a\nup /bin/sh";
  EXPECT_FALSE(render(profile, k26));
  profile.static_key = "/" + std::string(300, 'x');
  EXPECT_FALSE(render(profile, k26));
  profile = client(Auth::kTls);
  profile.peer_fingerprint += " x";
  EXPECT_FALSE(render(profile, k26));
  profile = client(Auth::kTls);
  profile.device = "sixteen-bytes-xx";
  EXPECT_FALSE(render(profile, k26));
}

TEST(OpenVpnProfile, MissingOrMixedAddressesAreErrors) {
  Profile profile = client(Auth::kTls);
  profile.remote.reset();
  EXPECT_FALSE(render(profile, k26));
  profile = client(Auth::kTls);
  profile.family = Family::kIpv6;
  EXPECT_FALSE(render(profile, k26));
  profile = server(Auth::kTls);
  profile.local_port = 0;
  EXPECT_FALSE(render(profile, k26));
}

TEST(OpenVpnMtu, FitsTheLine) {
  EXPECT_EQ(tunnel_mtu(1492, Auth::kStaticKey, Family::kIpv4), 1401U);
  EXPECT_EQ(tunnel_mtu(1500, Auth::kStaticKey, Family::kIpv4), 1401U);
  EXPECT_EQ(tunnel_mtu(1492, Auth::kTls, Family::kIpv4), 1426U);
  EXPECT_EQ(tunnel_mtu(1492, Auth::kTls, Family::kIpv4, k27), 1422U);
  EXPECT_EQ(tunnel_mtu(10, Auth::kTls, Family::kIpv4), 0U);
  EXPECT_EQ(tunnel_mtu(10, Auth::kStaticKey, Family::kIpv6), 0U);
}

TEST(OpenVpnMtu, IsTheLargestThatFits) {
  for (const Auth auth : {Auth::kStaticKey, Auth::kTls}) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      for (std::uint32_t line = 576; line < 2000; ++line) {
        const std::uint32_t mtu = tunnel_mtu(line, auth, family);
        ASSERT_LE(outer_size(mtu, auth, family), line);
        ASSERT_GT(outer_size(mtu + 1, auth, family), line);
      }
    }
  }
}

}  // namespace
}  // namespace bondd::openvpn
