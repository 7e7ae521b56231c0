#include "bondd/ipc/messages.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace bondd::ipc {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::pair<Command, std::string_view>, 3> kCommands = {
    {{Command::kStatus, "status"}, {Command::kStop, "stop"}, {Command::kReload, "reload"}}};

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <typename T>
void take(const Json& from, const char* key, std::optional<T>& to) {
  if (const auto found = from.find(key); found != from.end() && !found->is_null()) to = found->get<T>();
}

// Words may hold bytes that are no UTF-8 (a log line of a child): never throw for them.
std::string dump(const Json& json, bool pretty) {
  return json.dump(pretty ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

Json wan_to_json(const model::WanStatus& wan) {
  Json json = {{"name", wan.name},
               {"state", wan.state},
               {"reason", wan.reason},
               {"rtt_ms", or_null(wan.rtt_ms)},
               {"loss_percent", or_null(wan.loss_percent)},
               {"rx_bytes", or_null(wan.rx_bytes)},
               {"tx_bytes", or_null(wan.tx_bytes)},
               {"capacity_mbit", or_null(wan.capacity_mbit)},
               {"share_percent", or_null(wan.share_percent)},
               {"queue_ms", or_null(wan.queue_ms)}};
  if (!wan.explanation.empty()) json["explanation"] = wan.explanation;
  return json;
}

Json site_to_json(const model::SiteStatus& site) {
  Json json = {{"name", site.name}, {"role", site.role}, {"backend", site.backend}, {"state", site.state}};
  json["bond"] = {{"interface", site.bond_interface},
                  {"rx_bytes", or_null(site.bond_rx_bytes)},
                  {"tx_bytes", or_null(site.bond_tx_bytes)}};
  json["wans"] = Json::array();
  for (const model::WanStatus& wan : site.wans) json["wans"].push_back(wan_to_json(wan));
  json["warnings"] = site.warnings;
  return json;
}

model::WanStatus wan_from_json(const Json& json) {
  model::WanStatus wan;
  wan.name = json.at("name").get<std::string>();
  wan.state = json.at("state").get<std::string>();
  wan.reason = json.at("reason").get<std::string>();
  take(json, "rtt_ms", wan.rtt_ms);
  take(json, "loss_percent", wan.loss_percent);
  take(json, "rx_bytes", wan.rx_bytes);
  take(json, "tx_bytes", wan.tx_bytes);
  take(json, "capacity_mbit", wan.capacity_mbit);
  take(json, "share_percent", wan.share_percent);
  take(json, "queue_ms", wan.queue_ms);
  wan.explanation = json.value("explanation", "");
  return wan;
}

model::SiteStatus site_from_json(const Json& json) {
  model::SiteStatus site;
  site.name = json.at("name").get<std::string>();
  site.role = json.at("role").get<std::string>();
  site.backend = json.at("backend").get<std::string>();
  site.state = json.at("state").get<std::string>();
  const Json& bond = json.at("bond");
  site.bond_interface = bond.at("interface").get<std::string>();
  take(bond, "rx_bytes", site.bond_rx_bytes);
  take(bond, "tx_bytes", site.bond_tx_bytes);
  for (const Json& wan : json.at("wans")) site.wans.push_back(wan_from_json(wan));
  site.warnings = json.value("warnings", std::vector<std::string>{});
  return site;
}

// The library throws on what it cannot read; nothing of that leaves this file.
template <typename Parse>
auto parsed(std::string_view text, Parse parse) -> Result<decltype(parse(Json{}))> {
  try {
    return parse(Json::parse(text));
  } catch (const nlohmann::json::exception& error) {
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
  return dump(json, false);
}

std::string render(const Reply& reply) {
  Json json = {{"ok", reply.ok}, {"messages", reply.messages}};
  if (!reply.status.empty()) json["status"] = reply.status;
  return dump(json, false);
}

Result<Request> parse_control_request(std::string_view line) {
  auto read = parsed(line, [](const Json& json) {
    return std::pair(json.at("command").get<std::string>(), json.value("file", ""));
  });
  if (!read) return tl::make_unexpected(read.error());
  for (const auto& [command, name] : kCommands) {
    if (name == read->first) return Request{command, read->second};
  }
  return failure(fmt::format("unknown command \"{}\" on the control socket", read->first));
}

Result<Reply> parse_control_reply(std::string_view line) {
  return parsed(line, [](const Json& json) {
    return Reply{json.at("ok").get<bool>(), json.value("messages", std::vector<std::string>{}),
                 json.value("status", "")};
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
