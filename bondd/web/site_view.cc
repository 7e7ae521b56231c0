#include "bondd/web/site_view.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bondd/ipc/messages.h"
#include "bondd/problems/table.h"

namespace bondd::web {
namespace {

using Json = nlohmann::ordered_json;
using model::WanState;
using problems::Hop;

constexpr double kBitsPerByte = 8, kBitsPerMbit = 1e6;
constexpr std::int64_t kMsPerSecond = 1000;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<double> rate_mbit(const std::optional<std::uint64_t>& before,
                                const std::optional<std::uint64_t>& now, Duration took) {
  if (!before || !now || *now < *before || took <= Duration(0)) return std::nullopt;
  return static_cast<double>(*now - *before) * kBitsPerByte / kBitsPerMbit /
         std::chrono::duration<double>(took).count();
}

Json or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json sample_json(const Sample& sample) {
  Json wans = Json::object();
  for (const auto& [name, wan] : sample.wans) {
    wans[name] = {{"rx_mbit", or_null(wan.rx_mbit)},
                  {"tx_mbit", or_null(wan.tx_mbit)},
                  {"rtt_ms", or_null(wan.rtt_ms)},
                  {"loss_percent", or_null(wan.loss_percent)}};
  }
  return {{"number", sample.number}, {"time_ms", sample.time_ms}, {"wans", wans}};
}

// The parts of the page's picture.
const char* name(Hop hop) {
  switch (hop) {
    case Hop::kNone:
      return "";
    case Hop::kProgram:
    case Hop::kMachine:
      return "program";
    case Hop::kInterface:
      return "interface";
    case Hop::kGateway:
      return "gateway";
    case Hop::kInternet:
      return "provider";
    case Hop::kServer:
    case Hop::kPort:
      return "server";
    case Hop::kSession:
      return "session";
  }
  return "";
}

Hop hop_of(const model::Problem& problem) {
  for (const problems::Row& row : problems::table()) {
    if (row.name == problem.code) return row.hop;
  }
  return Hop::kNone;
}

// Where each WAN that is not heard is cut: at the first hop that fails, or "" where that is not known (yet).
Json broken_json(const model::SiteStatus& site) {
  Json broken = Json::object();
  for (const model::WanStatus& wan : site.wans) {
    if (model::is_heard(wan.state)) continue;
    Hop first = Hop::kNone;
    for (const model::Problem& problem : site.problems) {
      const Hop hop = hop_of(problem);
      const bool about = problem.wan == wan.name || problem.wan.empty();
      if (about && hop != Hop::kNone && (first == Hop::kNone || hop < first)) first = hop;
    }
    broken[wan.name] = name(first);
  }
  return broken;
}

// In MLVPN's words.
const char* mlvpn_state(WanState state) {
  switch (state) {
    case WanState::kUp:
    case WanState::kDrained:
      return "connected";
    case WanState::kLossy:
      return "lossy link";
    case WanState::kSlow:
      return "slow link";
    case WanState::kStarting:
    case WanState::kWaiting:
      return "waiting peer";
    case WanState::kSilent:
    case WanState::kDown:
      return "disconnected";
  }
  return "disconnected";
}

}  // namespace

SiteView::SiteView(std::int64_t started_ms)
    : next_sample_(static_cast<std::uint64_t>(started_ms)),
      next_event_(static_cast<std::uint64_t>(started_ms)) {}

Result<> SiteView::handle_site(const std::string& json) {
  if (!Json::accept(json)) return failure("bondd's words on the site are no JSON");
  site_json_ = json;
  return {};
}

Result<> SiteView::handle_status(TimePoint now, std::int64_t time_ms, const std::string& json) {
  auto status = ipc::parse_status(json);
  if (!status) return tl::make_unexpected(status.error());
  follow_wans(time_ms, *status);
  status_ = std::move(*status);
  status_json_ = json;
  status_ms_ = time_ms;
  if (counted_.empty() || now - counted_.back().when >= kSampleEvery) add_sample(now, time_ms);
  return {};
}

void SiteView::follow_wans(std::int64_t time_ms, const model::SiteStatus& next) {
  for (const model::WanStatus& wan : next.wans) {
    const auto before = std::ranges::find(status_.wans, wan.name, &model::WanStatus::name);
    Lived& lived = lived_[wan.name];
    if (model::is_heard(wan.state)) {
      lived.heard_s = (time_ms - static_cast<std::int64_t>(wan.heard_ms_ago.value_or(0))) / kMsPerSecond;
    } else if (before != status_.wans.end() && model::is_heard(before->state)) {
      ++lived.disconnects;
    }
  }
  std::erase_if(lived_, [&](const auto& entry) {
    return std::ranges::find(next.wans, entry.first, &model::WanStatus::name) == next.wans.end();
  });
}

void SiteView::add_sample(TimePoint now, std::int64_t time_ms) {
  Sample sample{next_sample_++, time_ms, {}};
  Counted counted{now, {}};
  for (const model::WanStatus& wan : status_.wans) {
    counted.bytes[wan.name] = {wan.rx_bytes, wan.tx_bytes};
    Sample::Wan& figures = sample.wans[wan.name];
    figures.rtt_ms = wan.rtt_ms;
    figures.loss_percent = wan.loss_percent;
    if (counted_.empty()) continue;
    const auto before = counted_.front().bytes.find(wan.name);
    if (before == counted_.front().bytes.end()) continue;
    const Duration took = now - counted_.front().when;
    figures.rx_mbit = rate_mbit(before->second.first, wan.rx_bytes, took);
    figures.tx_mbit = rate_mbit(before->second.second, wan.tx_bytes, took);
  }
  samples_.push_back(std::move(sample));
  counted_.push_back(std::move(counted));
  if (samples_.size() > kSamplesKept) samples_.pop_front();
  if (counted_.size() > kRateOver) counted_.pop_front();
}

void SiteView::handle_event(std::string line) {
  if (!Json::accept(line)) return;
  events_.emplace_back(next_event_++, std::move(line));
  if (events_.size() > kEventsKept) events_.pop_front();
}

std::string SiteView::events_json() const {
  std::string out = "[";
  for (const auto& [number, line] : events_) out += (out.size() == 1 ? "" : ",") + line;
  return out + "]";
}

Json SiteView::tunnel_json(const Json& wan, const model::WanStatus& status) const {
  const bool server = status_.role == "server";
  const std::string port = std::to_string(wan.at("port").get<int>());
  const auto found = lived_.find(status.name);
  const Lived lived = found == lived_.end() ? Lived{} : found->second;
  return {{"name", status.name},
          {"mode", server ? "server" : "client"},
          {"bindaddr", wan.at("bind")},
          {"bindport", server ? port : ""},
          {"destaddr", server ? "" : status_.server},
          {"destport", server ? "" : port},
          {"status", mlvpn_state(status.state)},
          {"sentpackets", 0},
          {"recvpackets", 0},
          {"sentbytes", status.tx_bytes.value_or(0)},
          {"recvbytes", status.rx_bytes.value_or(0)},
          {"bandwidth", 0},
          {"srtt", static_cast<std::int64_t>(status.rtt_ms.value_or(0))},
          {"loss", static_cast<std::int64_t>(status.loss_percent.value_or(0))},
          {"disconnects", lived.disconnects},
          {"last_packet", lived.heard_s},
          {"timeout", wan.at("timeout_s")}};
}

std::string SiteView::mlvpn_json() const {
  const Json site = Json::parse(site_json_);
  const Json bond = site.value("bond", Json::object());
  Json tunnels = Json::array();
  for (const Json& wan : site.value("wans", Json::array())) {
    const auto found =
        std::ranges::find(status_.wans, wan.at("name").get<std::string>(), &model::WanStatus::name);
    // The last line of the file comes first, as there.
    if (found != status_.wans.end()) tunnels.insert(tunnels.begin(), tunnel_json(wan, *found));
  }
  return dump({{"name", "bondd"},
               {"version", "1.1"},
               {"uptime", site.value("started", std::int64_t{0})},
               {"last_reload", site.value("loaded", std::int64_t{0})},
               {"pid", 0},
               {"tuntap", {{"type", bond.value("type", "tun")}, {"name", bond.value("interface", "")}}},
               {"tunnels", tunnels}});
}

std::string SiteView::live_json(std::int64_t now_ms, std::uint64_t after_sample,
                                std::uint64_t after_event) const {
  Json samples = Json::array(), events = Json::array();
  for (const Sample& sample : samples_) {
    if (sample.number > after_sample) samples.push_back(sample_json(sample));
  }
  for (const auto& [number, line] : events_) {
    if (number <= after_event) continue;
    events.push_back(Json::parse(line));
    events.back()["number"] = number;
  }
  return dump({{"time_ms", now_ms},
               {"status_ms", status_ms_},
               {"status", status_json_.empty() ? Json(nullptr) : Json::parse(status_json_)},
               {"broken", broken_json(status_)},
               {"samples", samples},
               {"events", events}});
}

}  // namespace bondd::web
