#include "bondd/ipc/messages.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "bondd/ipc/wan_json.h"

namespace bondd::ipc {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::pair<Command, std::string_view>, 10> kCommands = {
    {{Command::kStatus, "status"},
     {Command::kStop, "stop"},
     {Command::kReload, "reload"},
     {Command::kConfirm, "confirm"},
     {Command::kDrain, "drain"},
     {Command::kRestore, "restore"},
     {Command::kMonitor, "monitor"},
     {Command::kPlan, "plan"},
     {Command::kSpeedTest, "speedtest"},
     {Command::kHooksTest, "hooks test"}}};

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <typename T>
void take(const Json& from, const char* key, std::optional<T>& to) {
  if (const auto found = from.find(key); found != from.end() && !found->is_null()) to = found->get<T>();
}

// As RFC 3339 has it: "2026-11-30T02:05:41Z".
Json time_or_null(std::int64_t seconds) {
  return seconds == 0 ? Json(nullptr) : Json(model::time_text(seconds));
}

std::int64_t time_from(const Json& from, const char* key) {
  const auto found = from.find(key);
  return found == from.end() || !found->is_string() ? 0 : model::parse_time(found->get<std::string>());
}

// Words may hold bytes that are no UTF-8 (a log line of a child): never throw for them.
std::string dump(const Json& json, bool pretty) {
  return json.dump(pretty ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

Json problem_to_json(const model::Problem& problem) {
  return {{"code", problem.code},     {"severity", to_string(problem.severity)},
          {"wan", problem.wan},       {"text", problem.text},
          {"remedy", problem.remedy}, {"since", time_or_null(problem.since)}};
}

model::Problem problem_from_json(const Json& json) {
  model::Problem problem;
  problem.code = json.at("code").get<std::string>();
  problem.severity =
      model::parse_severity(json.at("severity").get<std::string>()).value_or(model::Severity::kNote);
  problem.wan = json.value("wan", "");
  problem.text = json.at("text").get<std::string>();
  problem.remedy = json.value("remedy", "");
  problem.since = time_from(json, "since");
  return problem;
}

Json site_to_json(const model::SiteStatus& site) {
  Json json = {
      {"name", site.name}, {"role", site.role}, {"backend", site.backend}, {"state", to_string(site.state)}};
  json["bond"] = {{"interface", site.bond_interface},
                  {"rx_bytes", or_null(site.bond_rx_bytes)},
                  {"tx_bytes", or_null(site.bond_tx_bytes)},
                  {"peer", site.bond_peer}};
  json["wans"] = Json::array();
  for (const model::WanStatus& wan : site.wans) json["wans"].push_back(model::wan_json<Json>(wan));
  json["warnings"] = site.warnings;
  json["version"] = site.version;
  json["server"] = site.server;
  json["since"] = time_or_null(site.since);
  json["problems"] = Json::array();
  for (const model::Problem& problem : site.problems) json["problems"].push_back(problem_to_json(problem));
  return json;
}

model::SiteStatus site_from_json(const Json& json) {
  model::SiteStatus site;
  site.name = json.at("name").get<std::string>();
  site.role = json.at("role").get<std::string>();
  site.backend = json.at("backend").get<std::string>();
  const auto state = model::parse_site_state(json.at("state").get<std::string>());
  if (!state) throw std::invalid_argument("unknown state of a site");
  site.state = *state;
  const Json& bond = json.at("bond");
  site.bond_interface = bond.at("interface").get<std::string>();
  site.bond_peer = bond.value("peer", "");
  take(bond, "rx_bytes", site.bond_rx_bytes);
  take(bond, "tx_bytes", site.bond_tx_bytes);
  for (const Json& wan : json.at("wans")) site.wans.push_back(model::wan_from_json(wan));
  site.warnings = json.value("warnings", std::vector<std::string>{});
  site.version = json.value("version", "");
  site.server = json.value("server", "");
  site.since = time_from(json, "since");
  for (const Json& problem : json.value("problems", Json::array()))
    site.problems.push_back(problem_from_json(problem));
  return site;
}

// The library throws on what it cannot read; nothing of that leaves this file.
template <typename Parse>
auto parsed(std::string_view text, Parse parse) -> Result<decltype(parse(Json{}))> {
  try {
    return parse(Json::parse(text));
  } catch (const std::exception& error) {
    return failure(fmt::format("not understood on the control socket: {}", error.what()));
  }
}

}  // namespace

std::string render(const Request& request) {
  Json json;
  for (const auto& [command, name] : kCommands) {
    if (command == request.command) json["command"] = name;
  }
  if (!request.file.empty()) json["file"] = request.file;
  if (!request.wan.empty()) json["wan"] = request.wan;
  if (request.confirm_within > Duration(0))
    json["confirm_within_ms"] = duration_cast<std::chrono::milliseconds>(request.confirm_within).count();
  return dump(json, false);
}

std::string render(const Reply& reply) {
  Json json = {{"ok", reply.ok}, {"messages", reply.messages}};
  if (!reply.status.empty()) json["status"] = reply.status;
  return dump(json, false);
}

Result<Request> parse_control_request(std::string_view line) {
  std::string command;
  auto request = parsed(line, [&](const Json& json) {
    command = json.at("command").get<std::string>();
    return Request{Command::kStatus, json.value("file", ""), json.value("wan", ""),
                   std::chrono::milliseconds(json.value("confirm_within_ms", std::int64_t{0}))};
  });
  if (!request) return request;
  for (const auto& [known, name] : kCommands) {
    if (name != command) continue;
    request->command = known;
    return request;
  }
  return failure(fmt::format("unknown command \"{}\" on the control socket", command));
}

Result<Reply> parse_control_reply(std::string_view line) {
  return parsed(line, [](const Json& json) {
    return Reply{json.at("ok").get<bool>(), json.value("messages", std::vector<std::string>{}),
                 json.value("status", "")};
  });
}

std::string render(const model::Event& event) {
  const Json json = {{"time", model::time_text(event.time)},
                     {"site", event.site},
                     {"wan", event.wan},
                     {"event", event.event},
                     {"from", event.from},
                     {"to", event.to},
                     {"reason", event.reason}};
  return dump(json, false);
}

Result<model::Event> parse_event(std::string_view line) {
  return parsed(line, [](const Json& json) {
    const auto text = [&](const char* key) { return json.at(key).get<std::string>(); };
    return model::Event{model::parse_time(text("time")),
                        text("site"),
                        text("wan"),
                        text("event"),
                        text("from"),
                        text("to"),
                        text("reason")};
  });
}

std::string render(const SpeedTestNow& now) {
  Json metered = Json::object();
  for (const auto& [wan, key] : now.metered) metered[wan] = key;
  return dump({{"ready", now.ready},
               {"token", now.token},
               {"port", now.port},
               {"address", now.address},
               {"why_not_yet", now.why_not_yet},
               {"metered", metered}},
              false);
}

Result<SpeedTestNow> parse_speed_test(std::string_view json) {
  return parsed(json, [](const Json& from) {
    SpeedTestNow now;
    now.ready = from.at("ready").get<bool>();
    now.token = from.at("token").get<std::string>();
    now.port = from.at("port").get<std::uint16_t>();
    now.address = from.at("address").get<std::string>();
    now.why_not_yet = from.at("why_not_yet").get<std::string>();
    for (const auto& [wan, key] : from.at("metered").items())
      now.metered.emplace_back(wan, key.get<std::string>());
    return now;
  });
}

std::string status_json(const model::SiteStatus& status, bool pretty) {
  return dump(site_to_json(status), pretty);
}

std::string status_json(const std::vector<model::SiteStatus>& sites, bool pretty) {
  Json json = Json::array();
  for (const model::SiteStatus& site : sites) json.push_back(site_to_json(site));
  return dump(json, pretty);
}

Result<model::SiteStatus> parse_status(std::string_view json) {
  return parsed(json, site_from_json);
}

}  // namespace bondd::ipc
