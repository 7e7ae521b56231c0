// The two files of the recipe, what a Config holds, and how files are found and read.
#include "bondd/config/config.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bondd/config/document.h"
#include "tests/support/fake_machine.h"

namespace bondd::config {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::FakeMachine;
using ::testing::HasSubstr;
using ::testing::Not;

std::string slurp(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in) << file;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string contract_file(const std::string& name) {
  return slurp(fs::path(BONDD_SOURCE_DIR) / "tests/data/contract" / name);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string said(const Loaded& loaded) {
  std::string out;
  for (const Diagnostic& diagnostic : loaded.diagnostics) out += to_string(diagnostic) + "\n";
  return out;
}

// A file that is expected to be without any fault.
model::Config clean(const std::string& text, const FakeMachine& machine = {},
                    const fs::path& file = "/etc/bondd/office.toml") {
  Loaded loaded = load_text(text, file, machine);
  EXPECT_EQ(said(loaded), "");
  EXPECT_TRUE(loaded.config.has_value());
  return loaded.config.value_or(model::Config{});
}

TEST(Config, OfficeFileOfTheContractLoadsAsItStands) {
  const model::Config config = clean(contract_file("office.toml"));
  EXPECT_EQ(config.site, "office");
  EXPECT_EQ(config.file, "/etc/bondd/office.toml");
  EXPECT_EQ(config.role, model::Role::kClient);
  EXPECT_EQ(config.backend, model::Backend::kOpenVpnBond);
  EXPECT_EQ(config.server.address, "203.0.113.10");
  EXPECT_EQ(config.bond.interface, "bond0");
  EXPECT_EQ(to_string(config.bond.address), "172.16.16.2/30");
  EXPECT_EQ(to_string(config.bond.peer), "172.16.16.1");
  EXPECT_EQ(config.bond.mode, netlink::BondMode::kBalanceRr);
  EXPECT_EQ(config.bond.arp_interval, 300ms);
  ASSERT_EQ(config.wans.size(), 2U);
  EXPECT_EQ(config.wans[0].name, "ovh");
  EXPECT_EQ(config.wans[0].device, "eth0");
  EXPECT_EQ(to_string(config.wans[0].gateway.value()), "192.168.1.240");
  EXPECT_EQ(config.wans[1].port, 1196);
  ASSERT_EQ(config.through_bond.size(), 1U);
  EXPECT_TRUE(config.through_bond[0].is_default());
  EXPECT_EQ(config.openvpn.auth, model::OpenVpnAuth::kStaticKey);
  EXPECT_EQ(config.openvpn.static_key, "/etc/bondd/bond.key");
  EXPECT_EQ(config.mlvpn.password_file, "/etc/bondd/bond.password");
  ASSERT_EQ(config.policies.size(), 1U);
  EXPECT_EQ(config.policies[0].wan, "orange");
  ASSERT_EQ(config.policies[0].matches.size(), 2U);
  EXPECT_EQ(config.policies[0].matches[1].proto, model::Protocol::kUdp);
  EXPECT_EQ(config.policies[0].matches[1].dport, (model::PortRange{27000, 30000}));
}

TEST(Config, VpsFileOfTheContractLoadsAsItStands) {
  const model::Config config = clean(contract_file("vps.toml"), FakeMachine::vps(), "/etc/bondd/vps.toml");
  EXPECT_EQ(config.site, "vps");
  EXPECT_EQ(config.role, model::Role::kServer);
  EXPECT_EQ(config.masquerade, std::vector<std::string>{"eth0"});
  ASSERT_EQ(config.forwards.size(), 1U);
  EXPECT_EQ(config.forwards[0].port, (model::PortRange{80, 80}));
  EXPECT_EQ(to_string(config.forwards[0].to), "172.16.16.2");
  EXPECT_EQ(config.forwards[0].to_port, (model::PortRange{80, 80}));
}

TEST(Config, OnlyTheBackendInUseNeedsItsSecret) {
  FakeMachine without_password, without_key;
  without_password.files.erase("/etc/bondd/bond.password");
  without_key.files.erase("/etc/bondd/bond.key");
  const std::string openvpn = contract_file("office.toml");
  const std::string mlvpn = replaced(openvpn, "\"openvpn-bond\"", "\"mlvpn\"");
  clean(openvpn, without_password);
  EXPECT_EQ(clean(mlvpn, without_key).backend, model::Backend::kMlvpn);
  EXPECT_FALSE(load_text(openvpn, "/etc/bondd/office.toml", without_key).config);
  EXPECT_FALSE(load_text(mlvpn, "/etc/bondd/office.toml", without_password).config);
}

TEST(Config, EveryKeyReachesItsPlace) {
  const model::Config config = clean(R"(
role = "client"
backend = "mlvpn"
server.address = "vps.example.org"
[bond]
interface = "bond7"
address = "10.9.0.2/24"
peer = "10.9.0.1"
mode = "balance-xor"
xmit_hash_policy = "layer3+4"
arp_interval = "1s"
mtu = 1400
[[wan]]
name = "dsl"
device = "eth0"
gateway = "192.168.1.1"
port = 5080
upload = "896kbit"
download = "7mbit"
weight = 1.5
mtu = 1492
bind = "192.168.1.252"
[[wan]]
name = "lte"
device = "eth1"
port = 5081
upload = "1mbit"
download = "8mbit"
weight = 1
fallback_only = true
timeout = "5s"
loss_tolerance = 12.5
latency_tolerance = "1s"
[routes]
through_bond = ["0.0.0.0/0", "10.0.0.0/8"]
[mlvpn]
password_file = "bond.password"
cleartext_data = true
tuntap = "tap"
timeout = "10s"
reorder = 512
loss_tolerance = 25
latency_tolerance = "800ms"
repair = "off"
peer = "bondd"
[web]
listen = "192.168.1.252:8080"
token_file = "web.token"
[[policy]]
name = "voice"
wan = "dsl"
match = [{ proto = "udp", sport = 5060, dport = "5060", source = "192.168.1.10", destination = "198.51.100.0/24" }]
)");
  EXPECT_EQ(config.server.address, "vps.example.org");
  EXPECT_EQ(config.bond.mode, netlink::BondMode::kBalanceXor);
  EXPECT_EQ(config.bond.hash_policy, netlink::HashPolicy::kLayer34);
  EXPECT_EQ(config.bond.arp_interval, 1s);
  EXPECT_EQ(config.bond.mtu, 1400U);
  const model::Wan& dsl = config.wans.at(0);
  EXPECT_EQ(dsl.upload->bits_per_second, 896'000U);
  EXPECT_EQ(dsl.download->bits_per_second, 7'000'000U);
  EXPECT_EQ(dsl.weight, 1.5);
  EXPECT_EQ(dsl.mtu, 1492U);
  EXPECT_EQ(to_string(dsl.bind.value()), "192.168.1.252");
  EXPECT_FALSE(dsl.fallback_only);
  EXPECT_TRUE(config.wans.at(1).fallback_only);
  EXPECT_EQ(config.wans.at(1).timeout, Duration(5s));
  EXPECT_EQ(config.wans.at(1).loss_tolerance, 12.5);
  EXPECT_EQ(config.wans.at(1).latency_tolerance, Duration(1s));
  EXPECT_EQ(dsl.timeout, std::nullopt);
  EXPECT_EQ(config.through_bond.size(), 2U);
  EXPECT_TRUE(config.mlvpn.cleartext_data);
  EXPECT_TRUE(config.mlvpn.tap);
  EXPECT_EQ(config.mlvpn.timeout, 10s);
  EXPECT_EQ(config.mlvpn.reorder, 512U);
  EXPECT_EQ(config.mlvpn.loss_tolerance, 25);
  EXPECT_EQ(config.mlvpn.latency_tolerance, Duration(800ms));
  EXPECT_EQ(config.mlvpn.peer, model::MlvpnPeer::kBondd);
  EXPECT_EQ(config.mlvpn.repair, model::Repair::kOff);
  EXPECT_EQ(to_string(config.web.address), "192.168.1.252");
  EXPECT_EQ(config.web.port, 8080);
  EXPECT_EQ(config.web.token_file, "/etc/bondd/web.token");
  const model::Match& match = config.policies.at(0).matches.at(0);
  EXPECT_EQ(match.sport, (model::PortRange{5060, 5060}));
  EXPECT_EQ(to_string(match.source.value()), "192.168.1.10/32");
  EXPECT_EQ(to_string(match.destination.value()), "198.51.100.0/24");
}

TEST(Config, AWebTokenIsLongAndStandsInAUrlAsItIs) {
  EXPECT_EQ(model::web_token_of("0123456789abcdef\r\nmore\n"), "0123456789abcdef");
  EXPECT_TRUE(model::is_web_token("0123456789ABCd-~"));
  EXPECT_FALSE(model::is_web_token("0123456789abcde"));
  EXPECT_FALSE(model::is_web_token("0123456789abcdef+"));
  EXPECT_FALSE(model::is_web_token("0123456789abcdef "));
}

TEST(Config, TlsIsTheDefaultAndItsFilesStandBesideTheSite) {
  FakeMachine machine;
  machine.files["/etc/bondd/office.key"] = {"-----BEGIN PRIVATE KEY-----\n"};
  machine.files["/etc/bondd/office.crt"] = {"-----BEGIN CERTIFICATE-----\n", 0644};
  const std::string fingerprint =
      "ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89";
  const std::string text = replaced(contract_file("office.toml"), "auth = \"static-key\"",
                                    "fingerprint = \"" + fingerprint + "\"  #");
  const model::Config config = clean(replaced(text, "key  = \"bond.key\"", ""), machine);
  EXPECT_EQ(config.openvpn.auth, model::OpenVpnAuth::kTls);
  EXPECT_EQ(config.openvpn.private_key, "/etc/bondd/office.key");
  EXPECT_EQ(config.openvpn.certificate, "/etc/bondd/office.crt");
  EXPECT_EQ(config.openvpn.peer_fingerprint.substr(0, 6), "AB:CD:");
  EXPECT_EQ(config.openvpn.peer_fingerprint.size(), 95U);
  EXPECT_EQ(model::tls_crypt_file(config.openvpn, "/run/bondd/office"), "/run/bondd/office/tls-crypt.key");
}

TEST(Config, TlsCryptIsDerivedOrAFileOrOff) {
  FakeMachine machine;
  machine.files["/etc/bondd/office.key"] = {"-----BEGIN PRIVATE KEY-----\n"};
  machine.files["/etc/bondd/office.crt"] = {"-----BEGIN CERTIFICATE-----\n", 0644};
  const std::string print = "ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:";
  std::string text = replaced(contract_file("office.toml"), "auth = \"static-key\"",
                              "fingerprint = \"" + print + print.substr(0, 47) + "\"  #");
  text = replaced(text, "key  = \"bond.key\"", "tls_crypt = \"WHAT\"");
  const auto off = clean(replaced(text, "WHAT", "off"), machine).openvpn;
  EXPECT_EQ(model::tls_crypt_file(off, "/run/bondd/office"), "");
  const std::string named = replaced(text, "WHAT", "bond.tls-crypt");
  EXPECT_THAT(said(load_text(named, "/etc/bondd/office.toml", machine)),
              testing::HasSubstr("bond.tls-crypt"));
  machine.files["/etc/bondd/bond.tls-crypt"] = {test::kStaticKey};
  EXPECT_EQ(model::tls_crypt_file(clean(named, machine).openvpn, "/run/bondd/office"),
            "/etc/bondd/bond.tls-crypt");
}

TEST(Config, MakingAKeyNeedsNeitherKeyNorFingerprint) {
  std::string text = replaced(contract_file("office.toml"), "auth = \"static-key\"", "");
  text = replaced(text, "key  = \"bond.key\"", "");
  const FakeMachine machine;
  EXPECT_FALSE(load_text(text, "/etc/bondd/office.toml", machine).config);
  const Loaded loaded = load_text(text, "/etc/bondd/office.toml", machine, Purpose::kMakeKey);
  EXPECT_EQ(said(loaded), "");
  ASSERT_TRUE(loaded.config);
  EXPECT_EQ(loaded.config->openvpn.private_key, "/etc/bondd/office.key");
}

TEST(Config, NothingIsSaidAboutDevicesThatAreNotKnown) {
  FakeMachine machine;
  machine.knows_network = false;
  clean(replaced(contract_file("office.toml"), "\"eth0\"", "\"nosuch0\""), machine);
}

TEST(Config, AFileForAnotherMachineIsSaidToBeOne) {
  FakeMachine machine;
  machine.set_device("eth0", {"10.7.0.5/24"});
  machine.machine_network.routes.clear();
  const Loaded loaded = load_text(contract_file("office.toml"), "/etc/bondd/office.toml", machine);
  EXPECT_TRUE(loaded.config.has_value());
  EXPECT_THAT(said(loaded), testing::HasSubstr("is it the file of another machine?"));
}

// A gateway was off at boot: its device gave itself an address. The other WANs must run, now and after a
// reload.
TEST(Config, WhatMayChangeByItselfIsAWarning) {
  FakeMachine machine;
  machine.set_device("wan2", {"169.254.7.9/16"});
  const std::string office = contract_file("office.toml");
  const std::string orange = "device  = \"eth0\"\ngateway = \"192.168.1.254\"";
  for (const auto& [written, waits] : {
           std::pair{"device = \"wan2\"\ngateway = \"192.168.12.1\"",
                     "gateway 192.168.12.1 is outside the network of wan2, which has 169.254.7.9/16"},
           std::pair{"device = \"wlan0\"\ngateway = \"192.168.12.1\"", "wlan0 has no IPv4 address yet"},
           std::pair{"device = \"usb0\"", "this machine has no interface \"usb0\" now"},
           std::pair{"device = \"wan2\"", "wan2 has no default route to learn the gateway from yet"},
           std::pair{"device = \"eth0\"\ngateway = \"192.168.1.254\"\nbind = \"192.168.1.9\"",
                     "bind 192.168.1.9 is not an address of this machine now"},
       }) {
    const Loaded loaded = load_text(replaced(office, orange, written), "/etc/bondd/office.toml", machine);
    EXPECT_TRUE(loaded.config.has_value()) << said(loaded);
    EXPECT_THAT(said(loaded), testing::HasSubstr(waits));
    EXPECT_THAT(said(loaded), testing::HasSubstr("the WAN waits until that changes, the others run"));
  }
}

TEST(Config, AnotherNameOfADeviceIsToldItsOwn) {
  FakeMachine machine;
  machine.altnames = {{"north", "eth0"}, {"bond7", "eth0"}};
  const std::string office = contract_file("office.toml");
  const auto refused = [&](const std::string& from, const std::string& to) {
    const Loaded loaded = load_text(replaced(office, from, to), "/etc/bondd/office.toml", machine);
    EXPECT_FALSE(loaded.config.has_value());
    return said(loaded);
  };
  EXPECT_THAT(refused("\"eth0\"", "\"north\""),
              testing::HasSubstr("\"north\" is another name (altname) of eth0; write device = \"eth0\""));
  EXPECT_THAT(refused("\"bond0\"", "\"bond7\""), testing::HasSubstr("choose another name for interface"));
}

TEST(Config, GatewayOnLinkBesideASingleAddressIsFine) {
  FakeMachine machine;
  machine.set_device("eth0", {"198.51.100.7/32"});
  std::string office = replaced(contract_file("office.toml"), "192.168.1.240", "172.31.1.1");
  clean(replaced(office, "192.168.1.254", "172.31.1.2"), machine);
}

TEST(Config, OneGatewayWrittenAndTheSameLearnedIsSaid) {
  const std::string office = contract_file("office.toml");
  const std::string text = replaced(office, "gateway = \"192.168.1.254\"", "#");  // learned: .240
  const Loaded loaded = load_text(text, "/etc/bondd/office.toml", FakeMachine());
  EXPECT_TRUE(loaded.config.has_value());
  EXPECT_THAT(said(loaded),
              testing::HasSubstr("ovh and orange both leave by 192.168.1.240 on eth0, so they are one line"));
  // The device left out once hides nothing.
  const std::string same = replaced(office, "gateway = \"192.168.1.254\"", "gateway = \"192.168.1.240\"");
  const std::string left_out =
      replaced(same, "name    = \"orange\"\ndevice  = \"eth0\"", "name = \"orange\"");
  EXPECT_FALSE(load_text(left_out, "/etc/bondd/office.toml", FakeMachine()).config.has_value());
}

TEST(Config, ServersOwnWayNeverLeadsIntoTheBond) {
  const std::string vps = contract_file("vps.toml");
  const std::string listen = replaced(vps, "address = \"203.0.113.10\"", "#");
  for (const char* networks :
       {"\"0.0.0.0/0\"", "\"0.0.0.0/1\", \"128.0.0.0/1\"", "\"128.0.0.0/1\"", "\"203.0.0.0/8\"",
        "\"203.0.112.0/20\"", "\"203.0.113.0/24\"", "\"192.168.1.0/24\", \"200.0.0.0/5\"",
        "\"203.0.113.1/32\"", "\"203.0.113.10/32\"", "\"127.0.0.0/8\"", "\"224.0.0.0/4\""}) {
    for (const std::string& text : {vps, listen}) {
      const Loaded loaded = load_text(replaced(text, "\"192.168.1.0/24\"", networks), "/etc/bondd/vps.toml",
                                      FakeMachine::vps());
      EXPECT_FALSE(loaded.config.has_value()) << networks;
    }
  }
  const Loaded everything = load_text(replaced(vps, "\"192.168.1.0/24\"", "\"0.0.0.0/0\""),
                                      "/etc/bondd/vps.toml", FakeMachine::vps());
  EXPECT_THAT(said(everything), testing::HasSubstr("belongs in the client's file"));
}

TEST(Config, NetworkOfThisMachineIsNotBehindTheBond) {
  FakeMachine vps = FakeMachine::vps();
  vps.set_device("eth1", {"192.168.1.7/24"});
  EXPECT_FALSE(load_text(contract_file("vps.toml"), "/etc/bondd/vps.toml", vps).config.has_value());
  for (const char* network : {"192.168.1.0/24", "192.168.1.128/25", "192.168.1.77/32"}) {
    const std::string text = replaced(contract_file("office.toml"), "0.0.0.0/0", network);
    EXPECT_FALSE(load_text(text, "/etc/bondd/office.toml", FakeMachine()).config.has_value()) << network;
  }
  // A wider one is fine: what is nearer goes first.
  clean(replaced(contract_file("office.toml"), "0.0.0.0/0", "192.168.0.0/16"));
}

TEST(Config, KilledRunsOwnBondIsNoConflict) {
  FakeMachine machine;
  machine.set_device("tun9", {"172.16.16.2/30"});
  EXPECT_FALSE(load_text(contract_file("office.toml"), "/etc/bondd/office.toml", machine).config.has_value());
  machine.machine_network.links.back().alias = "bondd:office";
  clean(contract_file("office.toml"), machine);
}

// The advice to delete it would end the other site.
TEST(Config, AnotherSitesBondIsTakenDownByItsName) {
  FakeMachine machine;
  machine.set_device("bond0", {"172.16.99.2/30"});
  machine.machine_network.links.back().alias = "bondd:two";
  const std::string other = said(load_text(contract_file("office.toml"), "/etc/bondd/office.toml", machine));
  EXPECT_THAT(other,
              HasSubstr("bond0 is that of the site two; write another interface in [bond], or take that site "
                        "down first (`bondd down two`)"));
  EXPECT_THAT(other, Not(HasSubstr("ip link del")));
  machine.machine_network.links.back().alias = "bondd:office";
  clean(contract_file("office.toml"), machine);
  machine.machine_network.links.back().alias.clear();
  const std::string foreign =
      said(load_text(contract_file("office.toml"), "/etc/bondd/office.toml", machine));
  EXPECT_THAT(foreign, HasSubstr("not bondd's; write another interface in [bond]"));
  EXPECT_THAT(foreign, Not(HasSubstr("ip link del")));  // a device of another kind is not ours to delete
}

TEST(Config, ResolvesNamesAndPaths) {
  EXPECT_EQ(resolve_site_file("office").value(), "/etc/bondd/office.toml");
  EXPECT_EQ(resolve_site_file("paris.2").value(), "/etc/bondd/paris.2.toml");
  EXPECT_EQ(resolve_site_file("office.toml").value(), "office.toml");
  EXPECT_EQ(resolve_site_file("./office").value(), "./office");
  for (const char* argument : {"", "a b", "..", "-d", "é"}) {
    EXPECT_FALSE(resolve_site_file(argument).has_value()) << argument;
  }
}

TEST(Config, SiteNamesAreStems) {
  EXPECT_EQ(site_name("/etc/bondd/office.toml").value(), "office");
  EXPECT_FALSE(site_name("/etc/bondd/my office.toml").has_value());
  EXPECT_FALSE(site_name("/etc/bondd/...toml").has_value());
  EXPECT_FALSE(site_name("/etc/bondd/" + std::string(65, 'a') + ".toml").has_value());
}

class ConfigOnDisk : public testing::Test {
 protected:
  ConfigOnDisk() {
    std::string pattern = (fs::temp_directory_path() / "bondd-config-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~ConfigOnDisk() override { fs::remove_all(directory_); }

  fs::path write(const std::string& name, const std::string& text, fs::perms permissions) {
    std::ofstream(directory_ / name, std::ios::binary) << text;
    fs::permissions(directory_ / name, permissions);
    return directory_ / name;
  }

  fs::path directory_;
};

TEST_F(ConfigOnDisk, RealFilesLoad) {
  constexpr auto kOwner = fs::perms::owner_read | fs::perms::owner_write;
  const fs::path file = write("vps.toml", contract_file("vps.toml"), kOwner | fs::perms::others_read);
  write("bond.key", test::kStaticKey, kOwner);
  const Loaded loaded = load(file, SystemContext());
  ASSERT_TRUE(loaded.config) << said(loaded);
  EXPECT_EQ(loaded.config->openvpn.static_key, directory_ / "bond.key");
  write("bond.key", test::kStaticKey, kOwner | fs::perms::group_read);
  EXPECT_THAT(said(load(file, SystemContext())), testing::HasSubstr("chmod 600"));
}

TEST_F(ConfigOnDisk, WhatIsNoFileIsSaid) {
  EXPECT_THAT(said(load(directory_ / "none.toml", SystemContext())),
              testing::HasSubstr("there is no such file"));
  EXPECT_THAT(said(load("/dev/zero", SystemContext())), testing::HasSubstr("is not a file"));
  EXPECT_THAT(said(load(directory_, SystemContext())), testing::HasSubstr("is not a file"));
}

TEST_F(ConfigOnDisk, MisspeltSiteIsSuggested) {
  write("office.toml", "", fs::perms::owner_read);
  write("vps.toml", "", fs::perms::owner_read);
  EXPECT_EQ(said(load(directory_ / "ofice.toml", SystemContext())),
            (directory_ / "ofice.toml").string() + ": there is no such file; did you mean \"office\"?\n");
  EXPECT_THAT(said(load(directory_ / "paris.toml", SystemContext())),
              testing::HasSubstr("beside it are: office, vps"));
}

TEST_F(ConfigOnDisk, EnormousFilesAreRefused) {
  const fs::path file = write("big.toml", "", fs::perms::owner_read | fs::perms::owner_write);
  fs::resize_file(file, 1ULL << 40);  // sparse
  EXPECT_THAT(said(load(file, SystemContext())), testing::HasSubstr("larger than 1 MiB"));
}

TEST(Document, DeepNestingIsAnErrorAndNoOverflow) {
  std::string dotted = "[a";
  for (int i = 0; i < 300'000; ++i) dotted += ".a";
  EXPECT_FALSE(parse_document(dotted + "]\n").has_value());
  std::string quoted = "x = [\"\"\"\n\"\"\"\", {a";
  for (int i = 0; i < 300'000; ++i) quoted += ".\"a\"";
  EXPECT_FALSE(parse_document(quoted + "=1}]\n").has_value());
  EXPECT_FALSE(parse_document("x = " + std::string(500'000, '[')).has_value());
  std::string tables;
  for (int i = 0; i < 100'000; ++i) tables += "x={y=";
  EXPECT_FALSE(parse_document(tables).has_value());
}

// A cure that is itself an error makes everything worse.
TEST(Document, WhatASyntaxErrorTellsToWriteIsRight) {
  constexpr std::string_view kWrite = "write ";
  for (const fs::directory_entry& file :
       fs::directory_iterator(fs::path(BONDD_SOURCE_DIR) / "tests/golden/config")) {
    const std::string name = file.path().filename().string();
    if (!name.starts_with("syntax") || file.path().extension() != ".toml") continue;
    const auto document = parse_document(slurp(file.path()));
    if (document) continue;
    const std::string& message = document.error().message;
    const std::size_t at = message.rfind(kWrite);
    if (at == std::string::npos) continue;
    std::string cure = message.substr(at + kWrite.size());
    if (cure.starts_with("# ")) continue;
    if (cure.find("=") == std::string::npos && !cure.starts_with('[')) continue;
    cure = cure.substr(0, cure.find(" with two brackets"));
    cure = cure.substr(0, cure.find(", or delete"));
    const auto cured = parse_document(cure + "\n");
    EXPECT_TRUE(cured) << name << ": " << message << "\n" << (cured ? "" : cured.error().message);
  }
}

TEST(Document, StringsAndCommentsMayHaveDots) {
  std::string text = "x = [";
  for (int i = 0; i < 2000; ++i) text += "\"10.0.0.0/8\", ";
  text += "] # ";
  EXPECT_TRUE(parse_document(text + std::string(5000, '.')).has_value());
}

TEST(Document, KnowsWhereThingsStand) {
  const auto document = parse_document("a = 1\n[t]\n  é.b = \"x\"\n");
  ASSERT_FALSE(document.has_value());  // bare keys are ASCII
  const auto fine = parse_document("a = 1\n[t]\n  \"é\" = \"x\"\n");
  ASSERT_TRUE(fine.has_value());
  const Entry* const entry = fine->find("t")->value.find("é");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->position, (Position{3, 3}));
  EXPECT_EQ(entry->value.position, (Position{3, 9}));
}

TEST(Document, BadUtf8IsFoundAtItsPlace) {
  for (const char* bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    const auto document = parse_document(std::string("a = 1\nb = \"é") + bad + "\"\n");
    ASSERT_FALSE(document.has_value());
    EXPECT_EQ(document.error().position, (Position{2, 7}));
  }
}

}  // namespace
}  // namespace bondd::config
