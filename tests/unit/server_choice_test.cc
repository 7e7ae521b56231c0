#include "bondd/control/server_choice.h"

#include <gmock/gmock.h>

#include "tests/support/print.h"
#include "tests/unit/plan_fixture.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;
using plan::testing::ip;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class ServerChoiceTest : public ::testing::Test {
 protected:
  ServerChoiceTest() { choice_.set(now_, wans_, {a_, b_, c_}); }

  // The next `seconds` second by second, with these states; how many moves there were.
  std::size_t pass(int seconds, const std::string& ovh, const std::string& orange) {
    std::size_t moves = 0;
    for (int i = 0; i < seconds; ++i) {
      now_ += 1s;
      std::vector<model::WanStatus> states(2);
      states[0].name = "ovh";
      states[0].state = *model::parse_wan_state(ovh);
      states[1].name = "orange";
      states[1].state = *model::parse_wan_state(orange);
      moves += choice_.handle_states(now_, states).size();
    }
    return moves;
  }
  [[nodiscard]] IpAddress of(const std::string& wan) const { return choice_.by_wan().at(wan); }

  const IpAddress a_ = ip("203.0.113.10"), b_ = ip("203.0.113.11"), c_ = ip("203.0.113.12");
  std::vector<model::Wan> wans_ = plan::testing::office().wans;
  TimePoint now_{1h};
  ServerChoice choice_;
};

TEST_F(ServerChoiceTest, ASilentLineTriesTheNextAddressAndBeginsAnewAfterTheLast) {
  EXPECT_THAT(choice_.by_wan(), UnorderedElementsAre(Pair("ovh", a_), Pair("orange", a_)));
  EXPECT_EQ(pass(9, "starting", "starting"), 0U);
  EXPECT_EQ(pass(1, "starting", "starting"), 2U);
  EXPECT_THAT(choice_.by_wan(), UnorderedElementsAre(Pair("ovh", b_), Pair("orange", b_)));
  pass(10, "starting", "down");
  EXPECT_EQ(of("ovh"), c_);
  pass(10, "starting", "down");
  EXPECT_EQ(of("ovh"), a_);
}

TEST_F(ServerChoiceTest, TheAddressThatCarriesForAnotherLineComesFirst) {
  pass(10, "starting", "starting");
  pass(10, "starting", "starting");
  EXPECT_EQ(of("ovh"), c_);
  pass(10, "up", "starting");
  EXPECT_EQ(of("orange"), a_);
  pass(10, "up", "starting");
  EXPECT_EQ(of("orange"), c_);  // not b_
  EXPECT_EQ(of("ovh"), c_);
}

TEST_F(ServerChoiceTest, ALineThatIsCutKeepsItsAddressWhileTheOtherCarries) {
  pass(5, "up", "up");
  EXPECT_EQ(pass(3600, "up", "down"), 0U);
  EXPECT_EQ(of("orange"), a_);
}

TEST_F(ServerChoiceTest, AServerThatWentAwayIsLookedForElsewhere) {
  pass(5, "up", "lossy");
  EXPECT_EQ(pass(9, "down", "down"), 0U);
  EXPECT_EQ(pass(1, "down", "down"), 2U);
  EXPECT_EQ(of("ovh"), b_);
}

TEST_F(ServerChoiceTest, ALineThatNeverReachedTheAddressTriesOthersThoughAnotherLineCarries) {
  pass(10, "up", "starting");
  EXPECT_EQ(of("ovh"), a_);
  EXPECT_EQ(of("orange"), b_);
}

TEST_F(ServerChoiceTest, OneAddressIsNeverLeft) {
  choice_.set(now_, wans_, {a_});
  EXPECT_EQ(pass(60, "down", "starting"), 0U);
  EXPECT_EQ(of("ovh"), a_);
}

TEST_F(ServerChoiceTest, NewAddressesOfTheNameChangeOnlyLinesWhoseOwnIsGone) {
  pass(10, "up", "starting");
  ASSERT_EQ(of("orange"), b_);
  choice_.set(now_, wans_, {c_, b_});
  EXPECT_EQ(of("ovh"), c_);
  EXPECT_EQ(of("orange"), b_);
  choice_.set(now_, {wans_[1]}, {b_});
  EXPECT_THAT(choice_.by_wan(), SizeIs(1));
  choice_.set(now_, wans_, {});
  EXPECT_THAT(choice_.by_wan(), IsEmpty());
  EXPECT_EQ(pass(60, "down", "starting"), 0U);
}

// The way to the boxes is IPv4: an IPv6 address of the name would leave past them.
TEST_F(ServerChoiceTest, Ipv4ComesBeforeIpv6UnlessTheLineIsBoundToThat) {
  const IpAddress six = ip("2001:db8::10");
  wans_[1].bind = ip("2001:db8::252");
  choice_.set(now_, wans_, {six, a_});
  EXPECT_EQ(of("ovh"), a_);
  EXPECT_EQ(of("orange"), six);
  choice_.set(now_, wans_, {six});
  EXPECT_EQ(of("ovh"), six);
}

}  // namespace
}  // namespace bondd::control
