// `bondd metrics`: the text format of Prometheus.
#include "bondd/main/metrics_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bondd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

model::SiteStatus office() {
  model::SiteStatus site;
  site.name = "office";
  site.role = "client";
  site.backend = "mlvpn";
  site.version = "0.2.0";
  site.state = model::SiteState::kDegraded;
  site.since = 1'800'000'000;
  model::WanStatus dsl;
  dsl.name = "dsl";
  dsl.state = model::WanState::kUp;
  dsl.rtt_ms = 31.5;
  dsl.loss_percent = 1.5;
  dsl.capacity_mbit = 1.94;
  dsl.rx_bytes = 18'446'744'073'709'551'615ULL;
  model::WanStatus lte;
  lte.name = "lte";
  lte.state = model::WanState::kSilent;
  site.wans = {dsl, lte};
  return site;
}

TEST(MetricsView, IsInBaseUnitsWithItsLabels) {
  const std::string text = metrics_view({office()});
  EXPECT_THAT(text,
              HasSubstr("# HELP bondd_wan_up 1 while the WAN carries traffic.\n# TYPE bondd_wan_up gauge\n"
                        "bondd_wan_up{site=\"office\",wan=\"dsl\"} 1\n"
                        "bondd_wan_up{site=\"office\",wan=\"lte\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("bondd_wan_rtt_seconds{site=\"office\",wan=\"dsl\"} 0.0315\n"));
  EXPECT_THAT(text, HasSubstr("bondd_wan_receive_loss_ratio{site=\"office\",wan=\"dsl\"} 0.015\n"));
  EXPECT_THAT(
      text, HasSubstr("bondd_wan_transmit_capacity_bits_per_second{site=\"office\",wan=\"dsl\"} 1940000\n"));
  EXPECT_THAT(text,
              HasSubstr("bondd_wan_receive_bytes_total{site=\"office\",wan=\"dsl\"} 18446744073709551615\n"));
  EXPECT_THAT(text, HasSubstr("bondd_wan_state{site=\"office\",wan=\"lte\",state=\"silent\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("bondd_site_up{site=\"office\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("bondd_site_degraded{site=\"office\"} 1\n"));
}

TEST(MetricsView, AFigureThatIsNotKnownHasNoSample) {
  EXPECT_THAT(metrics_view({office()}), Not(HasSubstr("bondd_wan_rtt_seconds{site=\"office\",wan=\"lte\"}")));
  EXPECT_EQ(metrics_view({}), "");
}

TEST(MetricsView, EscapesLabelsAndNamesAProblemOnce) {
  model::SiteStatus site = office();
  site.wans[0].name = "a\"b\\c\nd";
  for (const char* text : {"one rule", "another rule"})
    site.problems.push_back({"foreign-rules", model::Severity::kWarning, "", text, "", 0});
  const std::string text = metrics_view({site});
  EXPECT_THAT(text, HasSubstr("bondd_wan_up{site=\"office\",wan=\"a\\\"b\\\\c\\nd\"} 1\n"));
  const std::string sample =
      "bondd_problem{site=\"office\",wan=\"\",code=\"foreign-rules\",severity=\"warning\"} 1\n";
  ASSERT_THAT(text, HasSubstr(sample));
  EXPECT_EQ(text.find(sample), text.rfind(sample));
}

}  // namespace
}  // namespace bondd
