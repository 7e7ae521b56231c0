// What a tap holds back so that packets sent together arrive together.
#include "bondd/control/delay_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace bondd;
using namespace bondd::control;
using namespace std::chrono_literals;
using testing::IsEmpty;

namespace {

// Delays after lines that bring packets so much later than the soonest were seen for a while.
class Lines {
 public:
  Lines& set(const std::string& tap, std::optional<Duration> behind, bool carries = true) {
    std::erase_if(lines_, [&](const auto& line) { return line.tap == tap; });
    lines_.push_back({tap, carries, behind});
    return *this;
  }
  void forget(const std::string& tap) { match_.forget(tap); }
  std::vector<DelayMatch::Change> look(Duration later = 10s) {
    now_ += later;
    auto changes = match_.update(now_, lines_);
    for (const auto& change : changes) delays_[change.tap] = change.delay;
    return changes;
  }
  Duration delay(const std::string& tap) { return delays_[tap]; }

 private:
  DelayMatch match_;
  TimePoint now_{100s};
  std::vector<DelayMatch::Line> lines_;
  std::map<std::string, Duration> delays_;
};

TEST(DelayMatch, TheFasterLinesWaitForTheSlowest) {
  Lines lines;
  lines.set("tap1", 13ms).set("tap2", 0ms).set("tap3", 12500us).look();
  EXPECT_EQ(lines.delay("tap1"), 0ms);
  EXPECT_EQ(lines.delay("tap2"), 13ms);
  EXPECT_EQ(lines.delay("tap3"), 0ms) << "half a millisecond is not worth it";
}

TEST(DelayMatch, NothingChangesWhileNothingMoves) {
  Lines lines;
  lines.set("tap1", 13ms).set("tap2", 0ms).look();
  lines.set("tap1", 14ms);  // a millisecond of 13
  EXPECT_THAT(lines.look(), IsEmpty());
  lines.set("tap1", 28ms);
  EXPECT_THAT(lines.look(500ms), testing::SizeIs(1));
  lines.set("tap1", 33ms);
  EXPECT_THAT(lines.look(500ms), IsEmpty()) << "at most once a second";
  EXPECT_THAT(lines.look(500ms), testing::SizeIs(1));
}

TEST(DelayMatch, ADeadLineIsNotWaitedFor) {
  Lines lines;
  lines.set("tap1", 13ms).set("tap2", 0ms).look();
  lines.set("tap1", 13ms, false).look();
  EXPECT_EQ(lines.delay("tap2"), 0ms);
}

TEST(DelayMatch, LinesTooFarApartAreLeftAlone) {
  Lines lines;
  lines.set("tap1", 288ms).set("tap2", 0ms);
  EXPECT_THAT(lines.look(), IsEmpty());
  lines.set("tap1", 88ms).look();
  EXPECT_EQ(lines.delay("tap2"), 88ms);
  lines.set("tap1", 288ms).look();
  EXPECT_EQ(lines.delay("tap2"), 0ms);
}

TEST(DelayMatch, WaitsUntilEveryLineIsKnown) {
  Lines lines;
  lines.set("tap1", std::nullopt).set("tap2", 0ms);
  EXPECT_THAT(lines.look(), IsEmpty());
  lines.set("tap1", 3ms).look();
  EXPECT_EQ(lines.delay("tap2"), 3ms);
}

TEST(DelayMatch, ATapMadeAnewStartsAnew) {
  Lines lines;
  lines.set("tap1", 13ms).set("tap2", 0ms).look();
  lines.forget("tap2");
  EXPECT_THAT(lines.look(), testing::SizeIs(1));
}

}  // namespace
