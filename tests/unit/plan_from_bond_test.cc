// What may come in through the bond, and from where.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/plan/plan.h"
#include "plan_fixture.h"

namespace bondd::plan {
namespace {

using namespace plan::testing;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The rules of one chain, without the words that all of them have.
std::vector<std::string> chain(const std::string& table, const std::string& part, const model::Config& config,
                               const model::Facts& facts) {
  const std::string start = "iptables -t " + table + " -A BONDD-" + part + "-" + config.site + " ";
  std::vector<std::string> out;
  for (const std::string& line : print(diff(plan(config, facts).value().state, {}))) {
    if (line.starts_with(start)) out.push_back(line.substr(start.size()));
  }
  return out;
}

model::Config with(model::Config config, model::FromBond from_bond) {
  config.bond.from_bond = from_bond;
  return config;
}

const std::string kDrop = "-m conntrack --ctstate NEW,UNTRACKED -j DROP";
const std::string kAnswers = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";

TEST(FromBond, OfficeTakesTheTunnelsAnswersAndNoOtherPacketFromTheServersPort) {
  EXPECT_THAT(chain("filter", "IN", office(), office_facts()),
              Contains("-s 203.0.113.10/32 -p udp -m udp --sport 1194 -m conntrack --ctstate ESTABLISHED -j "
                       "ACCEPT"));
  EXPECT_THAT(chain("filter", "IN", vps(), vps_facts()),
              Contains("-d 203.0.113.10/32 -p udp -m udp --dport 1194 -j ACCEPT"));
}

TEST(FromBond, AnswersPingsAndForwardsComeIntoTheOffice) {
  const model::Config config = office();
  const auto in = chain("filter", "IN", config, office_facts());
  EXPECT_THAT(std::vector(in.end() - 3, in.end()),
              ElementsAre("-i bond0 " + kAnswers,
                          "-d 172.16.16.2/32 -i bond0 -p icmp -m icmp --icmp-type 8 -j ACCEPT",
                          "'!' -s 172.16.16.0/30 -i bond0 -m conntrack --ctstate NEW -j ACCEPT"));
  EXPECT_THAT(chain("filter", "DIN", config, office_facts()), ElementsAre("-i bond0 " + kDrop));
  const auto forward = chain("filter", "FWD", config, office_facts());
  EXPECT_THAT(std::vector(forward.begin(), forward.begin() + 3),
              ElementsAre("-i bond0 " + kAnswers,
                          "'!' -s 172.16.16.0/30 -d 192.168.1.0/24 -i bond0 -m conntrack --ctstate NEW -j "
                          "ACCEPT",
                          "'!' -i bond0 -o bond0 -j ACCEPT"));
  EXPECT_THAT(chain("filter", "DFWD", config, office_facts()), ElementsAre("-i bond0 " + kDrop));
}

TEST(FromBond, ASpeedTestOfTheOtherEndComesInWhileItRuns) {
  model::Facts facts = vps_facts();
  const std::string rule =
      "-s 172.16.16.2/32 -d 172.16.16.1/32 -i bond0 -p tcp -m tcp --dport 40000 -j ACCEPT";
  EXPECT_THAT(chain("filter", "IN", vps(), facts), Not(Contains(HasSubstr("-p tcp"))));
  facts.speed_test_port = 40000;
  EXPECT_THAT(chain("filter", "IN", vps(), facts), Contains(rule));
}

TEST(FromBond, RepliesLeavesTheForwardsOut) {
  const model::Config config = with(office(), model::FromBond::kReplies);
  EXPECT_THAT(chain("filter", "IN", config, office_facts()), Not(Contains(HasSubstr("ctstate NEW -j"))));
  EXPECT_THAT(chain("filter", "FWD", config, office_facts()), Not(Contains(HasSubstr("ctstate NEW -j"))));
}

TEST(FromBond, AllTakesEverythingButForgedSources) {
  for (const auto& [config, facts] : {std::pair(office(), office_facts()), std::pair(vps(), vps_facts())}) {
    const model::Config open = with(config, model::FromBond::kAll);
    EXPECT_THAT(chain("filter", "IN", open, facts), Contains("-i bond0 -j ACCEPT"));
    EXPECT_THAT(chain("filter", "DIN", open, facts), IsEmpty());
    EXPECT_THAT(chain("filter", "DFWD", open, facts), IsEmpty());
    EXPECT_THAT(chain("mangle", "SRC", open, facts), Contains(HasSubstr("-j DROP")));
  }
}

TEST(FromBond, VpsAnswersTheOfficeAtItsPublicAddressByItsOwnRules) {
  EXPECT_THAT(chain("filter", "DIN", vps(), vps_facts()),
              ElementsAre("-d 203.0.113.10/32 -i bond0 -j RETURN", "-i bond0 " + kDrop));
  model::Config all_addresses = vps();
  all_addresses.server.address.clear();
  all_addresses.masquerade.clear();
  model::Facts facts = vps_facts();
  facts.server_addresses.clear();  // listens at all: the device of the default route is the Internet's
  EXPECT_THAT(chain("filter", "DIN", all_addresses, facts),
              ElementsAre("-d 203.0.113.10/32 -i bond0 -j RETURN", "-i bond0 " + kDrop));
}

TEST(FromBond, VpsLetsOutTheOfficesSourcesOnly) {
  EXPECT_THAT(
      chain("filter", "FWD", vps(), vps_facts()),
      ElementsAre("-s 172.16.16.0/30 -i bond0 -o eth0 -j ACCEPT",
                  "-s 192.168.1.0/24 -i bond0 -o eth0 -j ACCEPT", "-i bond0 " + kAnswers,
                  "-o bond0 " + kAnswers, "-d 172.16.16.2/32 -o bond0 -p tcp -m tcp --dport 80 -j ACCEPT"));
  EXPECT_THAT(chain("filter", "DFWD", vps(), vps_facts()), ElementsAre("-o bond0 " + kDrop));
  EXPECT_THAT(chain("mangle", "SRC", vps(), vps_facts()),
              ElementsAre("-s 172.16.16.0/30 -i bond0 -j RETURN", "-s 192.168.1.0/24 -i bond0 -j RETURN",
                          "-i bond0 -j DROP"));
}

TEST(FromBond, OfficeTakesItsOwnNetworksForForgedButNotWhatOfThemIsTheBonds) {
  model::Facts facts = office_facts();
  netlink::Route company = default_via("192.168.1.3", "eth0"), wide = company;
  company.destination = prefix("10.0.0.0/8");
  wide.destination = prefix("172.16.0.0/12");
  facts.network.routes.insert(facts.network.routes.end(), {company, wide});
  model::Config config = office();
  config.through_bond = {prefix("10.20.0.0/16"), prefix("198.51.100.0/24")};
  EXPECT_THAT(chain("mangle", "SRC", config, facts),
              ElementsAre("-s 172.16.16.0/30 -i bond0 -j RETURN", "-s 192.168.1.0/24 -i bond0 -j DROP",
                          "-s 10.20.0.0/16 -i bond0 -j RETURN", "-s 172.16.0.0/12 -i bond0 -j DROP",
                          "-s 10.0.0.0/8 -i bond0 -j DROP"));
}

// A gateway gave its line a network that the file leads through the bond: the answers come from there.
TEST(FromBond, NetworkOfALineThatTheFileLeadsThroughTheBondIsNotForged) {
  model::Facts facts = office_facts();
  model::Config config = office();
  config.through_bond = {prefix("192.168.1.0/24")};
  EXPECT_THAT(chain("mangle", "SRC", config, facts),
              ElementsAre("-s 172.16.16.0/30 -i bond0 -j RETURN", "-s 192.168.1.0/24 -i bond0 -j RETURN",
                          "-s 192.168.1.0/24 -i bond0 -j DROP"));
}

TEST(FromBond, HairpinKeepsTheAddressThatWasAsked) {
  EXPECT_THAT(
      chain("nat", "SNAT", vps(), vps_facts()),
      Contains("-s 192.168.1.0/24 -o bond0 -m conntrack --ctstate DNAT -j SNAT --to-source 203.0.113.10"));
}

// The bond's address of the VPS would be that of a program of it, which the office does not let in.
TEST(FromBond, HairpinOfAVpsThatListensAtAllAddressesIsNotTheBondsAddress) {
  model::Config config = vps();
  config.server.address.clear();
  model::Facts facts = vps_facts();
  facts.server_addresses.clear();
  EXPECT_THAT(
      chain("nat", "SNAT", config, facts),
      Contains("-s 192.168.1.0/24 -o bond0 -m conntrack --ctstate DNAT -j SNAT --to-source 203.0.113.10"));
}

TEST(FromBond, NoIpv6PassesAClosedBond) {
  const std::string off = "sysctl -w net.ipv6.conf.bond0.disable_ipv6=1";
  EXPECT_THAT(print(diff(plan(office(), office_facts()).value().state, {})), Contains(off));
  EXPECT_THAT(print(diff(plan(with(office(), model::FromBond::kAll), office_facts()).value().state, {})),
              Not(Contains(off)));
}

}  // namespace
}  // namespace bondd::plan
