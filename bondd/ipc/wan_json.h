// A WanStatus as JSON, for the library's ordered and plain kind. Included by .cc files only.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bondd/model/problem.h"
#include "bondd/model/wan_status.h"

namespace bondd::model {

template <typename Json>
Json wan_json(const WanStatus& wan) {
  Json json = {{"name", wan.name}, {"state", std::string(to_string(wan.state))}, {"reason", wan.reason}};
  visit_figures(wan, [&](const char* key, const auto& value) { json[key] = value ? Json(*value) : Json(); });
  if (!wan.explanation.empty()) json["explanation"] = wan.explanation;
  json["protection"] =
      wan.protection == Protection::kUnknown ? Json() : Json(std::string(to_string(wan.protection)));
  if (!wan.device.empty()) json["device"] = wan.device;
  if (!wan.gateway.empty()) json["gateway"] = wan.gateway;
  json["since"] = wan.since == 0 ? Json() : Json(time_text(wan.since));
  return json;
}

// Throws what the library throws, or std::invalid_argument.
template <typename Json>
WanStatus wan_from_json(const Json& json) {
  WanStatus wan;
  wan.name = json.at("name").template get<std::string>();
  const auto state = parse_wan_state(json.at("state").template get<std::string>());
  if (!state) throw std::invalid_argument("unknown state of a WAN");
  wan.state = *state;
  wan.reason = json.at("reason").template get<std::string>();
  visit_figures(wan, [&]<typename T>(const char* key, std::optional<T>& value) {
    if (const auto found = json.find(key); found != json.end() && !found->is_null())
      value = found->template get<T>();
  });
  wan.explanation = json.value("explanation", "");
  if (const auto found = json.find("protection"); found != json.end() && found->is_string())
    wan.protection = parse_protection(found->template get<std::string>()).value_or(Protection::kUnknown);
  wan.device = json.value("device", "");
  wan.gateway = json.value("gateway", "");
  if (const auto since = json.find("since"); since != json.end() && since->is_string())
    wan.since = parse_time(since->template get<std::string>());
  return wan;
}

}  // namespace bondd::model
