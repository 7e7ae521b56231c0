// What bondd-web knows of its site, and the JSON that it answers with. Pure: bondd's messages and times go
// in, texts come out.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/units.h"
#include "bondd/model/status.h"

namespace bondd::web {

// Of one moment, for the graphs. "In" is what this end receives. Empty: not known then.
struct Sample {
  std::uint64_t number = 0;  // one more than the one before
  std::int64_t time_ms = 0;  // since 1970
  struct Wan {
    std::optional<double> rx_mbit, tx_mbit;  // since kRateOver samples before
    std::optional<double> rtt_ms, loss_percent;
  };
  std::map<std::string, Wan> wans;
};

class SiteView {
 public:
  static constexpr Duration kSampleEvery = std::chrono::milliseconds(900);  // bondd tells each second
  static constexpr std::size_t kSamplesKept = 120;                          // two minutes
  static constexpr std::size_t kEventsKept = 200;
  // The engine's counters come twice a second, on a beat of their own: over one second a rate would be wrong
  // by half.
  static constexpr std::size_t kRateOver = 3;

  // `started_ms` since 1970: numbers of samples and events go on from there, so that they never repeat.
  explicit SiteView(std::int64_t started_ms);

  // Texts of ipc::WebMessage. What is no JSON of that form fails, and changes nothing.
  Result<> handle_site(const std::string& json);
  Result<> handle_status(TimePoint now, std::int64_t time_ms, const std::string& json);
  void handle_event(std::string line);

  // bondd told nothing yet.
  [[nodiscard]] bool empty() const { return status_json_.empty(); }
  [[nodiscard]] const model::SiteStatus& status() const { return status_; }

  [[nodiscard]] const std::string& site_json() const { return site_json_; }
  [[nodiscard]] const std::string& status_json() const { return status_json_; }
  [[nodiscard]] std::string events_json() const;
  // The shape of MLVPN's own /status, in its order; what bondd does not count is 0, as there.
  [[nodiscard]] std::string mlvpn_json() const;
  // What the page asks for each time: the status, where each WAN is cut, and what is new after these
  // numbers. `now_ms` since 1970.
  [[nodiscard]] std::string live_json(std::int64_t now_ms, std::uint64_t after_sample,
                                      std::uint64_t after_event) const;

 private:
  struct Counted {
    TimePoint when;
    std::map<std::string, std::pair<std::optional<std::uint64_t>, std::optional<std::uint64_t>>> bytes;
  };
  [[nodiscard]] nlohmann::ordered_json tunnel_json(const nlohmann::ordered_json& wan,
                                                   const model::WanStatus& status) const;
  void add_sample(TimePoint now, std::int64_t time_ms);
  void follow_wans(std::int64_t time_ms, const model::SiteStatus& next);

  std::string site_json_ = "{}", status_json_;
  model::SiteStatus status_;
  std::int64_t status_ms_ = 0;
  std::deque<Sample> samples_;
  std::deque<Counted> counted_;  // of the last kRateOver samples
  std::deque<std::pair<std::uint64_t, std::string>> events_;
  std::uint64_t next_sample_, next_event_;
  struct Lived {
    std::uint64_t disconnects = 0;
    std::int64_t heard_s = 0;  // since 1970
  };
  std::map<std::string, Lived> lived_;  // by WAN
};

}  // namespace bondd::web
