#include "bondd/speedtest/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bondd/base/text.h"
#include "bondd/model/problem.h"

namespace bondd::speedtest {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kRowTime = std::chrono::seconds(12);  // of one line, with the pauses between

std::string cell(const std::optional<double>& value, const char* unit, int width) {
  return fmt::format(" {:>{}}", value ? short_number(*value) + unit : "-", width);
}

std::string table_line(const std::string& name, const std::string& down, const std::string& up,
                       const std::string& latencies) {
  return fmt::format("{:<16.16}{}{}{}\n", name, down, up, latencies);
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json json_of(const Transferred& transferred) {
  return {{"mbit", or_null(transferred.mbit)},
          {"rtt_ms", or_null(transferred.rtt_ms)},
          {"bytes", transferred.bytes}};
}

Json json_of(const Row& row) {
  return {{"idle_rtt_ms", or_null(row.idle_ms)},
          {"down", json_of(row.down)},
          {"up", json_of(row.up)},
          {"reason", row.reason}};
}

}  // namespace

std::string announcement(const std::string& site, std::size_t rows,
                         const std::vector<std::pair<std::string, std::string>>& metered) {
  std::string out = fmt::format("{}: takes about {} s. While one line is measured, all traffic takes it.\n",
                                site, static_cast<long>(rows) * kRowTime.count());
  for (const auto& [wan, key] : metered) {
    out += fmt::format("{} may cost money ({} in the file): at most about {} MB of its volume are used.\n",
                       wan, key, 2 * kMeteredBytes / 1'000'000);
  }
  return out;
}

std::string table_head() {
  return fmt::format("{:<16} {:>9} {:>9} {:>12} {:>13} {:>13}\n{:<16} {:>9} {:>9} {:>12} {:>13} {:>13}\n", "",
                     "down", "up", "latency", "while down", "while up", "LINE", "Mbit/s", "Mbit/s", "idle",
                     "is full", "is full");
}

std::string table_row(const Row& row) {
  const std::string name = row.wan.empty() ? "bond" : row.wan;
  std::string out = table_line(
      name, cell(row.down.mbit, "", 9), cell(row.up.mbit, "", 9),
      cell(row.idle_ms, " ms", 12) + cell(row.down.rtt_ms, " ms", 13) + cell(row.up.rtt_ms, " ms", 13));
  if (!row.reason.empty()) out += fmt::format("  {}\n", row.reason);
  return out;
}

bool complete(const Report& report) {
  return std::ranges::all_of(report.rows, [](const Row& row) { return row.reason.empty(); });
}

std::string json(const Report& report) {
  Json out = {{"name", report.site}, {"time", model::time_text(report.time)}, {"complete", complete(report)}};
  out["wans"] = Json::array();
  out["bond"] = nullptr;
  for (const Row& row : report.rows) {
    if (row.wan.empty()) {
      out["bond"] = json_of(row);
      continue;
    }
    Json one = {{"name", row.wan}, {"metered", !row.metered.empty()}};
    one.update(json_of(row));
    out["wans"].push_back(one);
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace bondd::speedtest
