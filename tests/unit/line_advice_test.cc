// When the status says that the lines are not for openvpn-bond.
#include "bondd/control/line_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace bondd;
using namespace bondd::control;
using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

model::SiteStatus site(double second_rtt, double second_loss) {
  model::SiteStatus site;
  site.backend = "openvpn-bond";
  for (const char* name : {"ovh", "orange"}) {
    model::WanStatus wan;
    wan.name = name;
    wan.state = model::WanState::kUp;
    wan.rtt_ms = 40;
    wan.loss_percent = 0;
    site.wans.push_back(wan);
  }
  site.wans[1].rtt_ms = second_rtt;
  site.wans[1].loss_percent = second_loss;
  return site;
}

TEST(LineAdvice, CleanLinesOfLikeDelayNeedNone) {
  EXPECT_THAT(line_advice(site(40, 0)), IsEmpty());
  EXPECT_THAT(line_advice(site(230, 1.0)), IsEmpty()) << "95 ms apart is held back, one lost probe is chance";
}

TEST(LineAdvice, NamesTheLossyLineAndWhatItLoses) {
  EXPECT_THAT(
      line_advice(site(40, 2.34)),
      ElementsAre(AllOf(Field(&problems::Remark::code, problems::Code::kLineLossy),
                        Field(&problems::Remark::wan, "orange"),
                        Field(&problems::Remark::text,
                              AllOf(HasSubstr("orange has 2.3 % packet loss"), HasSubstr("mlvpn"))))));
}

TEST(LineAdvice, NamesTheLineThatIsTooFarAway) {
  EXPECT_THAT(line_advice(site(640, 0)),
              ElementsAre(Field(
                  &problems::Remark::text,
                  AllOf(HasSubstr("orange brings packets 300 ms later than ovh"), HasSubstr("mlvpn")))));
}

TEST(LineAdvice, NothingIsSaidOfALineThatDoesNotCarryOrOfAnotherBackend) {
  model::SiteStatus one_down = site(640, 9);
  one_down.wans[1].state = model::WanState::kDown;
  EXPECT_THAT(line_advice(one_down), IsEmpty());
  model::SiteStatus other = site(640, 9);
  other.backend = "mlvpn";
  EXPECT_THAT(line_advice(other), IsEmpty());
}

TEST(LineAdvice, NamesTheLineThatLosesLongPacketsAndTheMtuToWrite) {
  model::SiteStatus narrow = site(40, 0);
  narrow.backend = "mlvpn";
  EXPECT_THAT(line_advice(narrow), IsEmpty());
  narrow.wans[1].path_mtu = 1396;
  EXPECT_THAT(line_advice(narrow),
              ElementsAre(AllOf(Field(&problems::Remark::code, problems::Code::kLineNarrow),
                                Field(&problems::Remark::wan, "orange"),
                                Field(&problems::Remark::text,
                                      AllOf(HasSubstr("orange drops packets of more than 1396 bytes"),
                                            HasSubstr("write mtu = 1396 in this [[wan]] on both ends"))))));
  narrow.wans[1].state = model::WanState::kSilent;
  EXPECT_THAT(line_advice(narrow), IsEmpty());
}

}  // namespace
