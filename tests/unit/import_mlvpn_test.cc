// `bondd import`: mlvpn.conf with its script, and NethServer's records.
#include "bondd/setup/import_mlvpn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/setup/nethserver_records.h"

namespace bondd::setup {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kOffice = R"(# The office
[general]
statuscommand = "/etc/mlvpn/updown.sh"
mode = "client"
interface_name = "mlvpn0"
timeout = 30
password = "a long enough password"   # a comment
reorder_buffer_size = 64
loss_tolerence = 100
latency_tolerence = 400
tuntap = "tun"
ip4 = "10.42.42.2/30"
ip4_routes = "10.1.0.0/16 192.0.2.1"
mtu = 1452
control_bind_host = "0.0.0.0"
colour = "blue"

[filters]
dsl = "udp port 5060"

[dsl]
bindhost = "192.168.1.2"
remotehost = "203.0.113.10"
remoteport = 5080
bandwidth_upload = 112000

[lte]
bindhost = "192.168.2.2"
remotehost = "203.0.113.11"
remoteport = 5081
timeout = 10
fallback_only = 1
a line of nonsense
)";

std::optional<ImportExit> exit_of(const IpAddress& address) {
  if (to_string(address) == "192.168.1.2") return ImportExit{"eth1", std::nullopt};
  if (to_string(address) == "192.168.2.2") return ImportExit{"wwan0", parse_ip("192.168.2.1").value()};
  return std::nullopt;
}

Imported import_text(std::string_view text, const std::string& site, const UpdownScript* script = nullptr) {
  return import_mlvpn(parse_mlvpn_conf(text), site, exit_of, script);
}

std::string file(const Imported& imported, const std::string& name) {
  for (const NewFile& one : imported.files) {
    if (one.name == name) return one.content;
  }
  return "none";
}

auto says(std::size_t line, const std::string& text) {
  return Contains(AllOf(Field(&ImportRemark::line, line), Field(&ImportRemark::text, HasSubstr(text))));
}

TEST(MlvpnConf, ReadsSectionsValuesQuotesAndComments) {
  const ConfFile conf = parse_mlvpn_conf("a = 1 ; x\r\n[ s ]\nb = \"c # d\" # e\nnonsense\n= 3\n");
  ASSERT_EQ(conf.sections.size(), 2U);
  EXPECT_EQ(conf.sections[0].name, "general");
  EXPECT_EQ(conf.sections[0].entries[0].value, "1");
  EXPECT_EQ(conf.sections[1].name, "s");
  EXPECT_EQ(conf.sections[1].entries[0].value, "c # d");
  EXPECT_EQ(conf.sections[1].entries[0].line, 3U);
  EXPECT_THAT(conf.odd, ElementsAre(4, 5));
}

TEST(ImportMlvpn, AnOfficesFileIsWhole) {
  const Imported imported = import_text(kOffice, "office");
  EXPECT_TRUE(imported.complete);
  EXPECT_FALSE(is_server(parse_mlvpn_conf(kOffice)));
  EXPECT_TRUE(is_server(parse_mlvpn_conf("[general]\nmode = \"server\"\n")));
  EXPECT_EQ(file(imported, "office.password"), "a long enough password\n");
  EXPECT_EQ(file(imported, "office.toml"),
            "# Made by `bondd import`. After a change: `bondd check office`, then `bondd reload office`. See "
            "bondd.toml(5).\n"
            "role    = \"client\"\n"
            "backend = \"mlvpn\"\n"
            "\n[server]\n"
            "address = \"203.0.113.10\"\n"
            "\n[bond]\n"
            "interface = \"mlvpn0\"\n"
            "address   = \"10.42.42.2/30\"\n"
            "peer      = \"10.42.42.1\"\n"
            "\n[[wan]]\n"
            "name = \"dsl\"\n"
            "port = 5080\n"
            "device = \"eth1\"\n"
            "upload = \"896kbit\"\n"
            "\n[[wan]]\n"
            "name = \"lte\"\n"
            "port = 5081\n"
            "device = \"wwan0\"\n"
            "gateway = \"192.168.2.1\"\n"
            "fallback_only = true\n"
            "timeout = \"10s\"\n"
            "\n[routes]\n"
            "through_bond = [\"10.1.0.0/16\", \"192.0.2.1/32\"]\n"
            "\n[mlvpn]\n"
            "password_file = \"office.password\"\n"
            "timeout = \"30s\"\n"
            "latency_tolerance = \"400ms\"\n");
}

TEST(ImportMlvpn, EachLineThatIsNotSupportedOrDangerousIsNamed) {
  const auto remarks = import_text(kOffice, "office").remarks;
  EXPECT_THAT(remarks, says(3, "statuscommand: not read; name the script"));
  EXPECT_THAT(remarks, says(8, "reorder_buffer_size: left out"));
  EXPECT_THAT(remarks, says(14, "mtu: left out"));
  EXPECT_THAT(remarks, says(15, "dangerous"));
  EXPECT_THAT(remarks, says(16, "colour: not known"));
  EXPECT_THAT(remarks, says(19, "[[policy]] with wan = \"dsl\""));
  EXPECT_THAT(remarks, says(29, "remotehost \"203.0.113.11\": not supported"));
  EXPECT_THAT(remarks, says(33, "not understood"));
  EXPECT_EQ(remarks.size(), 8U);
}

TEST(ImportMlvpn, AServersPortsAndWeakPassword) {
  const Imported imported = import_text(
      "[general]\nmode=\"server\"\npassword=\"you have not changed me yet?\"\ncleartext_data=1\n"
      "ip4=\"10.42.42.1/30\"\nip4_routes=\"192.168.1.0/24\"\n[a]\nbindhost=\"0.0.0.0\"\nbindport=\"5080\"\n",
      "vps");
  EXPECT_TRUE(imported.complete);
  const std::string toml = file(imported, "vps.toml");
  EXPECT_THAT(toml,
              AllOf(HasSubstr("role    = \"server\""), HasSubstr("port = 5080\n"), Not(HasSubstr("bind =")),
                    HasSubstr("cleartext_data = true"), Not(HasSubstr("[server]"))));
  EXPECT_THAT(imported.remarks, says(3, "dangerous: it is the one of MLVPN's example"));
  EXPECT_THAT(imported.remarks, says(4, "dangerous"));
  EXPECT_THAT(imported.remarks, says(0, "[nat] masquerade"));
  for (const ImportRemark& remark : imported.remarks)
    EXPECT_THAT(remark.text, Not(HasSubstr("you have not changed me"))) << "a secret";
}

TEST(ImportMlvpn, WhatTheFileDoesNotTellIsAskedFor) {
  const Imported imported = import_text("[a]\nremoteport=\"x\"\n[b]\nremotehost=\"h\"\n", "office");
  EXPECT_FALSE(imported.complete);
  EXPECT_THAT(imported.remarks, says(0, "mode is not written"));
  EXPECT_THAT(imported.remarks, says(0, "ip4 is not written"));
  EXPECT_THAT(imported.remarks, says(0, "password is not written"));
  EXPECT_THAT(imported.remarks, says(1, "[a] has no remoteport"));
  EXPECT_THAT(imported.remarks, says(1, "write by which device"));
}

TEST(ImportMlvpn, ValuesThatWouldBreakOutOfTheirQuotesDoNot) {
  const Imported imported =
      import_text("[general]\ninterface_name = a\"\\b\n[x\"y]\nremotehost = c\"d\n", "office");
  EXPECT_THAT(file(imported, "office.toml"),
              AllOf(HasSubstr("interface = \"a\\\"\\\\b\""), HasSubstr("name = \"x\\\"y\""),
                    HasSubstr("address = \"c\\\"d\"")));
}

// MLVPN's own example with two ADSL lines (its documentation, 2.1.5).
constexpr const char* kServerScript = R"script(#!/bin/bash
error=0; trap "error=$((error|1))" ERR
tuntap_intf="$1"
newstatus="$2"
[ -z "$newstatus" ] && exit 1
(
if [ "$newstatus" = "tuntap_up" ]; then
echo "$tuntap_intf setup"
/sbin/ip link set dev $tuntap_intf mtu 1400 up
/sbin/ip addr add 10.42.42.1/30 dev $tuntap_intf
# NAT thru our server
/sbin/iptables -t nat -A POSTROUTING -o eth0 -s 10.42.42.0/30 -j MASQUERADE
/sbin/ip route add 192.168.0.0/24 via 10.42.42.2
/sbin/iptables -t nat -A POSTROUTING -o eth0 -s 192.168.0.0/24 -j MASQUERADE
/usr/local/bin/tell --token=a-secret-of-the-admin \
  again
elif [ "$newstatus" = "tuntap_down" ]; then
/sbin/ip route del 192.168.0.0/24 via 10.42.42.2
/sbin/iptables -t nat -D POSTROUTING -o eth0 -s 10.42.42.0/30 -j MASQUERADE
elif [ "$newstatus" = "rtun_up" ]; then
    echo "rtun [${rtun}] is up"
    ip route add 10.9.0.0/16 dev $tuntap_intf
fi
) >> /var/log/mlvpn_commands.log 2>&1
exit $errors
)script";

TEST(UpdownScript, WhatBonddDoesItselfIsTakenAndTheRestIsNamedWithItsLine) {
  const UpdownScript script = parse_updown_script(kServerScript);
  EXPECT_EQ(to_string(script.address.value()), "10.42.42.1/30");
  ASSERT_EQ(script.networks.size(), 1U);
  EXPECT_EQ(to_string(script.networks[0]), "192.168.0.0/24");
  EXPECT_THAT(script.masquerade, ElementsAre("eth0"));
  EXPECT_THAT(script.remarks, says(9, "mtu: left out"));
  EXPECT_THAT(script.remarks, says(15, "tell: not supported"));
  EXPECT_THAT(script.remarks, says(22, "when a line comes or goes"));
  EXPECT_EQ(script.remarks.size(), 3U);
  for (const ImportRemark& remark : script.remarks) EXPECT_THAT(remark.text, Not(HasSubstr("secret")));
}

TEST(UpdownScript, KnowsIfconfigAndRoute) {
  const UpdownScript script = parse_updown_script(
      "ifconfig $1 10.42.42.2 pointopoint 10.42.42.1 netmask 255.255.255.252 mtu 1400 up\n"
      "/sbin/route add -net 10.1.0.0 netmask 255.255.0.0 gw 10.42.42.1\n"
      "route add default dev $1\nroute add proof.ovh.net gw 10.42.42.2\n"
      "ip route add table 100 default dev $1\nip rule add fwmark 1 table 100\n");
  EXPECT_EQ(to_string(script.address.value()), "10.42.42.2/30");
  EXPECT_EQ(to_string(script.peer.value()), "10.42.42.1");
  ASSERT_EQ(script.networks.size(), 2U);
  EXPECT_EQ(to_string(script.networks[0]), "10.1.0.0/16");
  EXPECT_EQ(to_string(script.networks[1]), "0.0.0.0/0");
  EXPECT_THAT(script.remarks, says(4, "a route to proof.ovh.net: write its address"));
  EXPECT_THAT(script.remarks, says(5, "ip: not supported"));
  EXPECT_THAT(script.remarks, says(6, "ip: not supported"));
  EXPECT_TRUE(parse_updown_script("").remarks.empty());
  EXPECT_TRUE(parse_updown_script("\\\n\\\n\\").remarks.empty());
}

TEST(ImportMlvpn, AddressRoutesAndNatOfTheScriptAreTaken) {
  const UpdownScript script = parse_updown_script(kServerScript);
  const Imported imported = import_text(
      "[general]\nmode = \"server\"\ninterface_name = \"mlvpn0\"\nstatuscommand = \"/etc/x.sh\"\n"
      "password = \"pleasechangeme!\"\n[adsl1]\nbindport = 5080\n[adsl2]\nbindport = 5081\n",
      "vps", &script);
  EXPECT_TRUE(imported.complete);
  EXPECT_THAT(imported.remarks, IsEmpty());
  EXPECT_THAT(file(imported, "vps.toml"),
              AllOf(HasSubstr("address   = \"10.42.42.1/30\"\npeer      = \"10.42.42.2\"\n"),
                    HasSubstr("through_bond = [\"192.168.0.0/24\"]\n"),
                    HasSubstr("\n[nat]\nmasquerade = [\"eth0\"]\n")));
}

TEST(ImportMlvpn, ASecondLineOnOneDeviceNeedsItsGateway) {
  const Imported imported = import_text(
      "[general]\nmode=\"client\"\npassword=\"a long enough "
      "password\"\nip4=\"10.42.42.2/30\"\nip4_routes=\"0.0.0.0/0\"\n"
      "[a]\nbindhost=\"192.168.1.2\"\nremotehost=\"h\"\nremoteport=1\n"
      "[b]\nbindhost=\"192.168.1.2\"\nremotehost=\"h\"\nremoteport=2\n",
      "office");
  EXPECT_FALSE(imported.complete);
  EXPECT_THAT(imported.remarks, says(10, "another line leaves by eth1 as well: write gateway"));
}

// The two tunnels of NethServer's document; its 192.168.1000.0/24 is a slip there.
constexpr const char* kRecords =
    "  db mlvpn set c1 client status enabled Password mypassword Timeout 30 Encryption enabled ReorderBuffer "
    "64 "
    "LossTolerence 50 Connections eth1:1.2.3.4:5080,eth2:1.2.3.4:5081 \\\n"
    "  RemoteNetworks 192.168.1000.0/24,192.168.100.0/24 LocalPeer 10.42.43.2 RemotePeer 10.42.43.1 Nat "
    "disabled "
    "ControlPort 50001\n"
    "  signal-event mlvpn modify c1\n"
    "s1=server\n    status=disabled\n    Password=pippo\n    Encryption=disabled\n    LossTolerence=100\n"
    "    Connections=adsl1:0.0.0.0:5080,adsl2:0.0.0.0:5081\n    RemoteNetworks=192.168.0.0/24\n"
    "    LocalPeer=10.42.43.1\n    RemotePeer=10.42.43.2\n    Nat=enabled\n    Colour=blue\n";

TEST(NethserverRecords, TheAdminsCommandIsAnOfficesFile) {
  ASSERT_TRUE(has_nethserver_records(kRecords));
  EXPECT_FALSE(has_nethserver_records(kOffice));
  EXPECT_FALSE(has_nethserver_records("[general]\nmode=client\n"));
  const auto tunnels = parse_nethserver_records(kRecords);
  ASSERT_EQ(tunnels.size(), 2U);
  EXPECT_EQ(tunnels[0].name, "c1");
  const Imported imported = import_mlvpn(tunnels[0], "c1", exit_of, nullptr);
  EXPECT_TRUE(imported.complete);
  EXPECT_EQ(file(imported, "c1.password"), "mypassword\n");
  EXPECT_EQ(file(imported, "c1.toml"),
            "# Made by `bondd import`. After a change: `bondd check c1`, then `bondd reload c1`. See "
            "bondd.toml(5).\n"
            "role    = \"client\"\n"
            "backend = \"mlvpn\"\n"
            "\n[server]\n"
            "address = \"1.2.3.4\"\n"
            "\n[bond]\n"
            "interface = \"mlvpnc1\"\n"
            "address   = \"10.42.43.2/30\"\n"
            "peer      = \"10.42.43.1\"\n"
            "\n[[wan]]\n"
            "name = \"eth1\"\n"
            "port = 5080\n"
            "device = \"eth1\"\n"
            "\n[[wan]]\n"
            "name = \"eth2\"\n"
            "port = 5081\n"
            "device = \"eth2\"\n"
            "\n[routes]\n"
            "through_bond = [\"192.168.100.0/24\"]\n"
            "\n[mlvpn]\n"
            "password_file = \"c1.password\"\n"
            "timeout = \"30s\"\n"
            "loss_tolerance = 50\n");
  EXPECT_THAT(imported.remarks, says(1, "\"192.168.1000.0/24\" is not a network"));
  EXPECT_THAT(imported.remarks, says(1, "dangerous: it has only 10 characters"));
}

TEST(NethserverRecords, TheExportIsAServersFile) {
  const auto tunnels = parse_nethserver_records(kRecords);
  const Imported imported = import_mlvpn(tunnels.at(1), "s1", exit_of, nullptr);
  EXPECT_THAT(file(imported, "s1.toml"),
              AllOf(HasSubstr("role    = \"server\""), HasSubstr("name = \"adsl1\"\nport = 5080\n"),
                    HasSubstr("cleartext_data = true"), Not(HasSubstr("device")), Not(HasSubstr("bind ="))));
  EXPECT_THAT(imported.remarks, says(5, "status: it was disabled"));
  EXPECT_THAT(imported.remarks, says(7, "dangerous"));
  EXPECT_THAT(imported.remarks, says(13, "Nat: write [nat] masquerade"));
  EXPECT_THAT(imported.remarks, says(14, "Colour: not known"));
}

TEST(NethserverRecords, TheStoredFormAndAClientThatTakesEverythingIn) {
  const auto tunnels = parse_nethserver_records(
      "c1=client|Connections|eth1:vps.example.org:5080|LocalPeer|10.42.43.2|Nat|enabled|Password|a long one, "
      "really|RemoteNetworks|192.168.100.0/24|RemotePeer|10.42.43.9\nnonsense\n");
  ASSERT_EQ(tunnels.size(), 1U);
  EXPECT_THAT(tunnels[0].odd, ElementsAre(2));
  const std::string toml = file(import_mlvpn(tunnels[0], "c1", exit_of, nullptr), "c1.toml");
  EXPECT_THAT(toml, AllOf(HasSubstr("address = \"vps.example.org\""),
                          HasSubstr("through_bond = [\"0.0.0.0/0\", \"192.168.100.0/24\"]"),
                          HasSubstr("address   = \"10.42.43.2/28\"")));
}

}  // namespace
}  // namespace bondd::setup
