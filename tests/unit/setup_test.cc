// `bondd init` and `bondd join` without a machine: what is found, the token, the files. The files stand as
// goldens in tests/golden/setup; BONDD_UPDATE_GOLDENS=1 writes them anew.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "bondd/base/file.h"
#include "bondd/config/config.h"
#include "bondd/setup/discover.h"
#include "bondd/setup/frames.h"
#include "bondd/setup/render.h"
#include "bondd/setup/secrets.h"
#include "bondd/setup/store.h"
#include "bondd/setup/token.h"
#include "openvpn-profiles/identity.h"

namespace bondd::setup {
namespace {

namespace fs = std::filesystem;

IpAddress ip(std::string_view text) {
  return *parse_ip(text);
}
IpPrefix net(std::string_view text) {
  return *parse_prefix(text);
}

netlink::Link link(const std::string& name, bool up = true) {
  netlink::Link out;
  out.name = name;
  out.up = up;
  return out;
}
netlink::Address address(const std::string& device, std::string_view prefix) {
  return {device, net(prefix), std::nullopt};
}
netlink::Route default_route(const std::string& device, std::string_view gateway, std::uint32_t metric) {
  netlink::Route out;
  out.destination = net("0.0.0.0/0");
  out.device = device;
  if (!gateway.empty()) out.gateway = ip(gateway);
  out.metric = metric;
  return out;
}

// An office with a LAN and two modems on devices of their own.
netlink::Snapshot three_devices() {
  netlink::Snapshot out;
  out.links = {link("lo"), link("lan0"), link("eth1"), link("eth2"), link("docker0")};
  out.addresses = {address("lo", "127.0.0.1/8"), address("lan0", "192.168.10.1/24"),
                   address("eth1", "192.168.1.2/24"), address("eth2", "192.168.2.2/24"),
                   address("docker0", "172.17.0.1/16")};
  out.routes = {default_route("eth2", "192.168.2.1", 200), default_route("eth1", "192.168.1.1", 100)};
  return out;
}

Agreement two_lines(model::Backend backend) {
  return {backend,
          "203.0.113.10",
          {{"wan1", 5080}, {"wan2", 5081}},
          net("172.16.16.0/30"),
          {net("192.168.10.0/24")}};
}

// -- what the machine has ----------------------------------------------------------------

TEST(SetupDiscover, DefaultRoutesAreLinesBestMetricFirst) {
  const auto exits = find_exits(three_devices());
  ASSERT_EQ(exits.size(), 2U);
  EXPECT_EQ(exits[0], (Exit{"eth1", ip("192.168.1.1")}));
  EXPECT_EQ(exits[1], (Exit{"eth2", ip("192.168.2.1")}));
}

TEST(SetupDiscover, TunnelsContainersAndOurOwnBondAreNoLines) {
  netlink::Snapshot machine = three_devices();
  netlink::Link ours = link("bond0");
  ours.alias = "bondd:office";
  machine.links.push_back(ours);
  machine.routes = {default_route("bond0", "172.16.16.1", 0), default_route("wg0", "", 0),
                    default_route("docker0", "172.17.0.9", 0), default_route("ppp0", "", 50)};
  const auto exits = find_exits(machine);
  ASSERT_EQ(exits.size(), 1U);
  EXPECT_EQ(exits[0], (Exit{"ppp0", std::nullopt}));
}

TEST(SetupDiscover, ABridgeIsTheLanAndADockerBridgeIsNot) {
  netlink::Snapshot machine;
  machine.links = {link("br-lan"), link("br-0123456789ab"), link("eth0")};
  machine.addresses = {address("br-0123456789ab", "172.18.0.1/16"), address("br-lan", "10.1.0.1/24"),
                       address("eth0", "192.168.1.10/24")};
  machine.routes = {default_route("eth0", "192.168.1.254", 0)};
  EXPECT_EQ(find_lans(machine, find_exits(machine)), std::vector{net("10.1.0.0/24")});
}

TEST(SetupDiscover, LanIsThePrivateNetworkOfADeviceThatIsNoLine) {
  const auto machine = three_devices();
  EXPECT_EQ(find_lans(machine, find_exits(machine)), std::vector{net("192.168.10.0/24")});
  // A line that is not to be used is no LAN.
  EXPECT_EQ(find_lans(machine, {{"eth1", std::nullopt}}), std::vector{net("192.168.10.0/24")});
}

TEST(SetupDiscover, WithOneDeviceItsNetworkIsTheLan) {
  netlink::Snapshot machine;
  machine.links = {link("lo"), link("eth0")};
  machine.addresses = {address("eth0", "192.168.1.10/24")};
  machine.routes = {default_route("eth0", "192.168.1.254", 0)};
  EXPECT_EQ(find_lans(machine, find_exits(machine)), std::vector{net("192.168.1.0/24")});
}

TEST(SetupDiscover, BondTakesANetworkThatIsFree) {
  netlink::Snapshot machine = three_devices();
  EXPECT_EQ(propose_bond(machine, {}), net("172.16.16.0/30"));
  EXPECT_EQ(propose_bond(machine, {net("172.16.16.0/24")}), net("172.16.17.0/30"));
  machine.addresses.push_back(address("lan0", "172.16.16.9/23"));
  EXPECT_EQ(propose_bond(machine, {}), net("172.16.18.0/30"));
  EXPECT_FALSE(propose_bond(machine, {net("172.16.0.0/12")}));
}

TEST(SetupDiscover, ASecondGatewayOnTheSameLanBecomesALineWhenItLeadsOn) {
  std::vector<FoundExit> exits = {{{"eth0", ip("192.168.1.254")}}, {{"eth1", ip("10.0.0.1")}}};
  add_gateways(exits, "eth0",
               {{ip("192.168.1.240"), true}, {ip("192.168.1.250"), false}, {ip("192.168.1.254"), true}});
  ASSERT_EQ(exits.size(), 3U);
  EXPECT_EQ(exits[1].exit, (Exit{"eth0", ip("192.168.1.240")}));
  EXPECT_EQ(exits[0].state, FoundExit::State::kLeadsOn);
  EXPECT_EQ(exits[2].state, FoundExit::State::kNotTested);
}

TEST(SetupDiscover, ALineWithoutADefaultRouteHasTheGatewayThatAnswersAndItIsWritten) {
  std::vector<FoundExit> exits = {{{"eth1", ip("192.168.1.1")}}, {{"eth2", std::nullopt}}};
  add_gateways(exits, "eth2", {{ip("192.168.2.9"), false}, {ip("192.168.2.1"), true}});
  ASSERT_EQ(exits.size(), 2U);
  EXPECT_EQ(exits[1].exit, (Exit{"eth2", ip("192.168.2.1")}));
  EXPECT_EQ(exits[1].state, FoundExit::State::kLeadsOn);
  EXPECT_EQ(to_write(exits)[1].gateway, ip("192.168.2.1"));
}

// Or `init --force` after a crash, or join with --force, would make a second bond beside the first.
TEST(SetupDiscover, WhatASiteHasLeftIsFreeForItself) {
  netlink::Snapshot machine = three_devices();
  netlink::Link bond = link("bond0");
  bond.alias = "bondd:office";
  machine.links.push_back(bond);
  machine.addresses.push_back(address("bond0", "172.16.16.2/30"));
  EXPECT_EQ(propose_interface(machine), "bond1");
  EXPECT_EQ(propose_interface(without_site(machine, "office")), "bond0");
  EXPECT_EQ(propose_bond(without_site(machine, "office"), {}), net("172.16.16.0/30"));
  EXPECT_EQ(propose_interface(without_site(machine, "two")), "bond1");
}

TEST(SetupDiscover, ATokenOnTheMachineThatMadeItIsForTheOtherOne) {
  const Agreement agreement = two_lines(model::Backend::kMlvpn);
  EXPECT_NE(wrong_end(three_devices(), agreement, model::Role::kServer).find("this token is for the VPS"),
            std::string::npos);
  EXPECT_EQ(wrong_end(three_devices(), agreement, model::Role::kClient), "");
  netlink::Snapshot vps;
  vps.links = {link("eth0")};
  vps.addresses = {address("eth0", "203.0.113.10/24")};
  EXPECT_EQ(wrong_end(vps, agreement, model::Role::kServer), "");
  EXPECT_EQ(wrong_end(vps, agreement, model::Role::kClient),
            "this token is for the office, and this machine is the VPS (203.0.113.10 is on eth0); paste it "
            "in the office");
}

TEST(SetupDiscover, AGatewayThatDoesNotAnswerAndOneWithADeadLineAreTold) {
  std::vector<FoundExit> exits = {{{"eth0", ip("192.168.1.254")}}, {{"eth0", ip("192.168.1.240")}}};
  add_gateways(exits, "eth0", {{ip("192.168.1.240"), false}});
  EXPECT_EQ(exits[0].state, FoundExit::State::kSilent);
  EXPECT_EQ(exits[1].state, FoundExit::State::kStopsHere);
}

TEST(SetupDiscover, AGatewayAloneOnItsDeviceIsLearnedSoThatDhcpMayChangeIt) {
  const std::vector<FoundExit> exits = {{{"eth0", ip("192.168.1.254")}},
                                        {{"eth0", ip("192.168.1.240")}},
                                        {{"eth1", ip("10.0.0.1")}},
                                        {{"eth2", ip("10.0.1.1")}, FoundExit::State::kNotTested, true}};
  const auto written = to_write(exits);
  EXPECT_TRUE(written[0].gateway && written[1].gateway && written[3].gateway);
  EXPECT_FALSE(written[2].gateway);
}

TEST(SetupDiscover, WanIsADeviceWithOrWithoutItsGateway) {
  EXPECT_EQ(*parse_exit("eth0=192.168.1.254"), (Exit{"eth0", ip("192.168.1.254")}));
  EXPECT_EQ(*parse_exit("ppp0"), (Exit{"ppp0", std::nullopt}));
  for (const char* wrong :
       {"", "=192.168.1.1", "eth0=", "eth0=box", "eth0=fe80::1", "a-device-name-too-long"}) {
    EXPECT_FALSE(parse_exit(wrong)) << wrong;
  }
}

// -- packets of the probe ------------------------------------------------------------------

TEST(SetupFrames, AnIcmpErrorTellsWhichHostAndTtlItAnswers) {
  const Ethernet own{MacAddress{{2, 0, 0, 0, 0, 1}}, ip("192.168.1.10")};
  const MacAddress router{{2, 0, 0, 0, 0, 9}};
  const auto probe = hop_probe(own, router, ip("203.0.113.10"), 17, 2);
  EXPECT_FALSE(parse_hop_answer(probe)) << "a probe is no answer";
  // Time exceeded from the provider: Ethernet, IP, 8 bytes of ICMP, then our packet from its IP header on.
  std::vector<std::uint8_t> answer(probe.begin(), probe.begin() + 14);
  std::vector<std::uint8_t> outer(probe.begin() + 14, probe.begin() + 34);
  outer[9] = 1;
  const std::array<std::uint8_t, 4> provider{198, 51, 100, 1};
  std::copy(provider.begin(), provider.end(), outer.begin() + 12);
  answer.insert(answer.end(), outer.begin(), outer.end());
  answer.insert(answer.end(), {11, 0, 0, 0, 0, 0, 0, 0});
  answer.insert(answer.end(), probe.begin() + 14, probe.end());
  EXPECT_EQ(parse_hop_answer(answer), (HopAnswer{17, 2, ip("198.51.100.1")}));
  for (std::size_t size = 0; size < answer.size() - 4; ++size) {
    EXPECT_FALSE(parse_hop_answer(std::span(answer).first(size))) << size;
  }
}

TEST(SetupFrames, AnArpReplyTellsAddressAndMac) {
  const Ethernet router{MacAddress{{2, 0, 0, 0, 0, 9}}, ip("192.168.1.254")};
  auto frame = arp_request(router, ip("192.168.1.10"));
  EXPECT_FALSE(parse_arp_reply(frame)) << "a request is no reply";
  frame[21] = 2;
  EXPECT_EQ(parse_arp_reply(frame), (Neighbour{router.address, router.mac}));
  for (std::size_t size = 0; size < 42; ++size)
    EXPECT_FALSE(parse_arp_reply(std::span(frame).first(size))) << size;
}

// -- the token -------------------------------------------------------------------------------

Token some_token(model::Backend backend) {
  Token token;
  token.id = std::string(32, 'a');
  token.expires = 1'800'000'000;
  token.site = "vps";
  token.agreement = two_lines(backend);
  token.secret = make_secrets(backend, "office", "vps")->other;
  return token;
}

TEST(SetupToken, IsOneWordThatCarriesEverything) {
  for (const auto backend : {model::Backend::kMlvpn, model::Backend::kOpenVpnBond}) {
    const Token token = some_token(backend);
    const std::string text = encode(token);
    EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
              std::string::npos);
    EXPECT_LT(text.size(), 1500U) << "fits a terminal's line and a QR code";
    const auto decoded = decode(text);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(*decoded, token);
  }
}

TEST(SetupToken, FoldedByMailItIsTheSame) {
  const Token token = some_token(model::Backend::kMlvpn);
  std::string text = encode(token);
  for (std::size_t i = 60; i < text.size(); i += 62) text.insert(i, "\r\n");
  EXPECT_EQ(decode("  " + text + " \n"), token);
}

TEST(SetupToken, CutOrChangedItIsRefused) {
  const std::string text = encode(some_token(model::Backend::kMlvpn));
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(decode(text.substr(0, size))) << size;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(decode(changed)) << i;
  }
}

TEST(SetupToken, ValuesThatWouldBreakAFileAreRefused) {
  Token token = some_token(model::Backend::kMlvpn);
  token.agreement.server = "203.0.113.10\"\nrole = \"x";
  EXPECT_FALSE(decode(encode(token)));
  token = some_token(model::Backend::kMlvpn);
  token.site = "../evil";
  EXPECT_FALSE(decode(encode(token)));
  token = some_token(model::Backend::kMlvpn);
  token.agreement.lans = {net("0.0.0.0/0")};
  EXPECT_FALSE(decode(encode(token))) << "the VPS's own default route";
  token = some_token(model::Backend::kMlvpn);
  token.secret.password = "short";
  EXPECT_FALSE(decode(encode(token)));
  token = some_token(model::Backend::kMlvpn);
  token.secret.key_pair += "more = x\n";
  EXPECT_FALSE(decode(encode(token)));
  token = some_token(model::Backend::kMlvpn);
  token.agreement.lines.resize(16, {"more", 7000});
  EXPECT_FALSE(decode(encode(token)));
}

TEST(SetupToken, ExpiresAtItsTime) {
  const Token token = some_token(model::Backend::kMlvpn);
  EXPECT_TRUE(check_expiry(token, token.expires));
  const auto late = check_expiry(token, token.expires + 60);
  ASSERT_FALSE(late);
  EXPECT_EQ(
      late.error().message,
      "the token expired at 2027-01-15 08:00 UTC, and this machine's clock says 2027-01-15 08:01 UTC; `bondd "
      "init --force` on the other end prints a new one; if the clock is wrong, set it");
}

// -- the files -------------------------------------------------------------------------------

// Reads what was rendered as `bondd check` would, its secrets from the same list.
class RenderedMachine final : public config::CheckContext {
 public:
  explicit RenderedMachine(const std::vector<NewFile>& files) : files_(files) {}
  [[nodiscard]] Result<FileFacts> stat(const fs::path& file) const override {
    const NewFile* const found = find(file);
    if (found == nullptr) return failure(file.string(), ENOENT);
    return FileFacts{true, 0600, found->content.size(), {}};
  }
  [[nodiscard]] Result<std::string> read(const fs::path& file, std::size_t limit) const override {
    return find(file)->content.substr(0, limit);
  }
  [[nodiscard]] std::optional<netlink::Snapshot> network() const override { return std::nullopt; }

 private:
  [[nodiscard]] const NewFile* find(const fs::path& file) const {
    const auto found = std::find_if(files_.begin(), files_.end(),
                                    [&](const NewFile& f) { return "/etc/bondd/" + f.name == file; });
    return found == files_.end() ? nullptr : &*found;
  }
  const std::vector<NewFile>& files_;
};

model::Config parsed(const std::vector<NewFile>& files) {
  const NewFile& site = files.back();
  config::Loaded loaded = config::load_text(site.content, "/etc/bondd/" + site.name, RenderedMachine(files));
  for (const auto& diagnostic : loaded.diagnostics) ADD_FAILURE() << config::to_string(diagnostic);
  return loaded.config.value_or(model::Config{});
}

void expect_golden(const std::string& name, const std::string& text) {
  const fs::path golden = fs::path(BONDD_SOURCE_DIR) / "tests/golden/setup" / name;
  if (std::getenv("BONDD_UPDATE_GOLDENS") != nullptr) std::ofstream(golden, std::ios::binary) << text;
  std::ostringstream wanted;
  wanted << std::ifstream(golden, std::ios::binary).rdbuf();
  EXPECT_EQ(text, wanted.str());
}

const OfficeEnd kOffice{"office", "bond0", {{"eth1", std::nullopt}, {"eth2", ip("192.168.2.1")}}};
const ServerEnd kServer{"vps", "bond0", "ens3"};

TEST(SetupFiles, BothEndsOfMlvpnHaveNoErrorAndFitEachOther) {
  const Agreement agreement = two_lines(model::Backend::kMlvpn);
  Credentials secret;
  secret.password = "a-password-of-the-test-0123456789";
  secret.key_pair = make_secrets(model::Backend::kMlvpn, "office", "vps")->own.key_pair;
  const auto office = render_office(agreement, kOffice, secret);
  const auto server = render_server(agreement, kServer, secret);
  expect_golden("office-mlvpn.toml", office.back().content);
  expect_golden("vps-mlvpn.toml", server.back().content);
  const model::Config at_office = parsed(office), at_server = parsed(server);
  EXPECT_EQ(at_office.bond.address.address, at_server.bond.peer);
  EXPECT_EQ(at_server.bond.address.address, at_office.bond.peer);
  EXPECT_EQ(at_office.wans[1].port, at_server.wans[1].port);
  EXPECT_EQ(at_office.wans[1].gateway, ip("192.168.2.1"));
  EXPECT_EQ(at_server.through_bond, agreement.lans);
  EXPECT_EQ(at_server.masquerade, std::vector<std::string>{"ens3"});
  EXPECT_EQ(office.front().content, server.front().content) << "the password";
  EXPECT_EQ(at_office.mlvpn.key_file, "/etc/bondd/office.keys");
  EXPECT_EQ(at_office.mlvpn.peer, model::MlvpnPeer::kBondd);
}

TEST(SetupFiles, BothEndsOfOpenVpnPinEachOther) {
  const Agreement agreement = two_lines(model::Backend::kOpenVpnBond);
  const auto secrets = make_secrets(agreement.backend, "office", "vps");
  ASSERT_TRUE(secrets);
  const auto office = render_office(agreement, kOffice, secrets->own);
  const auto server = render_server(agreement, kServer, secrets->other);
  EXPECT_EQ(parsed(office).openvpn.peer_fingerprint, *openvpn::fingerprint(secrets->other.certificate));
  EXPECT_EQ(parsed(server).openvpn.peer_fingerprint, *openvpn::fingerprint(secrets->own.certificate));
  ASSERT_EQ(server.size(), 3U);
  EXPECT_EQ(server[0].name, "vps.key");
}

// -- on disk ---------------------------------------------------------------------------------

class SetupStore : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "bondd-setup-XXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(root_); }
  fs::path root_;
};

unsigned mode_of(const fs::path& path) {
  struct stat facts {};
  return stat(path.c_str(), &facts) == 0 ? facts.st_mode & 0777U : 0;
}
std::size_t entries_of(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), {}));
}

TEST_F(SetupStore, WritesFilesThatOnlyTheirOwnerReads) {
  const fs::path directory = root_ / "etc";
  ASSERT_TRUE(write_files(directory, {{"a.password", "one"}, {"a.toml", "two"}}, Existing::kKeep));
  EXPECT_EQ(mode_of(directory), 0700U);
  EXPECT_EQ(mode_of(directory / "a.password"), 0600U);
  EXPECT_EQ(mode_of(directory / "a.toml"), 0600U);
  EXPECT_EQ(entries_of(directory), 2U) << "nothing half-written stays";
}

TEST_F(SetupStore, WritesAllFilesOrNoneAndNeverOverAnother) {
  ASSERT_TRUE(write_files(root_, {{"a.password", "one"}, {"a.toml", "two"}}, Existing::kKeep));
  const auto again = write_files(root_, {{"b.password", "three"}, {"a.toml", "four"}}, Existing::kKeep);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, EEXIST);
  EXPECT_EQ(again.error().message,
            (root_ / "a.toml").string() +
                " exists and is left as it is; choose another --name, or --force replaces it");
  EXPECT_FALSE(fs::exists(root_ / "b.password"));
  EXPECT_EQ(*read_file(root_ / "a.toml"), "two");
  EXPECT_EQ(entries_of(root_), 2U);
}

TEST_F(SetupStore, ReplacesFilesOnlyWhenAsked) {
  ASSERT_TRUE(write_files(root_, {{"a.toml", "one"}}, Existing::kKeep));
  fs::permissions(root_ / "a.toml", fs::perms::all);
  ASSERT_TRUE(write_files(root_, {{"a.password", "two"}, {"a.toml", "three"}}, Existing::kReplace));
  EXPECT_EQ(*read_file(root_ / "a.toml"), "three");
  EXPECT_EQ(mode_of(root_ / "a.toml"), 0600U);
  EXPECT_EQ(entries_of(root_), 2U);
}

TEST_F(SetupStore, ALinkInTheWayIsNotFollowed) {
  fs::create_symlink(root_ / "elsewhere", root_ / "a.toml");
  EXPECT_FALSE(write_files(root_, {{"a.toml", "one"}}, Existing::kKeep));
  ASSERT_TRUE(write_files(root_, {{"a.toml", "two"}}, Existing::kReplace));
  EXPECT_FALSE(fs::exists(root_ / "elsewhere"));
}

TEST_F(SetupStore, ATokenIsTakenOnceAndTheSecondIsToldWhereAndWhen) {
  const std::string id(32, 'b');
  ASSERT_TRUE(take_token(root_ / "state", id, "/etc/bondd/vps.toml, 2026-11-30 02:00 UTC"));
  const auto second = take_token(root_ / "state", id, "/etc/bondd/other.toml, 2026-11-30 03:00 UTC");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message,
            "this token was used already: /etc/bondd/vps.toml, 2026-11-30 02:00 UTC; a token works once: "
            "`bondd init --force` on the other end prints a new one");
  EXPECT_EQ(mode_of(root_ / "state"), 0700U);
  give_token_back(root_ / "state", id);
  EXPECT_TRUE(take_token(root_ / "state", id, "again"));
}

TEST_F(SetupStore, OfAThousandWhoTakeATokenAtOnceExactlyOneWins) {
  const std::string id(32, 'c');
  std::atomic<int> won{0}, told{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 50; ++turn) {
        const auto taken = take_token(root_ / "state", id, "the winner's use");
        if (taken) ++won;
        if (!taken && taken.error().message.find("the winner's use") != std::string::npos) ++told;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(told, 999);
}

}  // namespace
}  // namespace bondd::setup
