#include "bondd/ipc/web_protocol.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "bondd/base/units.h"

namespace bondd::ipc {
namespace {

using Json = nlohmann::ordered_json;
using Kind = WebMessage::Kind;

constexpr std::array<std::pair<Kind, std::string_view>, 4> kKinds = {
    {{Kind::kStart, "start"}, {Kind::kSite, "site"}, {Kind::kStatus, "status"}, {Kind::kEvent, "event"}}};

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// "27000-30000"; empty: any.
std::string ports(const std::optional<model::PortRange>& range) {
  if (!range) return {};
  const std::string first = std::to_string(range->first);
  return range->first == range->last ? first : first + "-" + std::to_string(range->last);
}

std::string network(const std::optional<IpPrefix>& prefix) {
  return prefix ? to_string(*prefix) : "";
}

Json wans_json(const model::Config& config) {
  Json wans = Json::array();
  for (const model::Wan& wan : config.wans) {
    wans.push_back(
        {{"name", wan.name},
         {"port", wan.port},
         {"bind", wan.bind ? to_string(*wan.bind) : ""},
         {"fallback_only", wan.fallback_only},
         {"timeout_s",
          duration_cast<std::chrono::seconds>(wan.timeout.value_or(config.mlvpn.timeout)).count()}});
  }
  return wans;
}

Json policies_json(const model::Config& config) {
  Json policies = Json::array();
  for (const model::Policy& policy : config.policies) {
    Json matches = Json::array();
    for (const model::Match& match : policy.matches) {
      matches.push_back({{"proto", name(match.proto)},
                         {"dport", ports(match.dport)},
                         {"sport", ports(match.sport)},
                         {"source", network(match.source)},
                         {"destination", network(match.destination)}});
    }
    policies.push_back({{"name", policy.name}, {"wan", policy.wan}, {"match", matches}});
  }
  return policies;
}

Json forwards_json(const model::Config& config) {
  Json forwards = Json::array();
  for (const model::Forward& forward : config.forwards) {
    forwards.push_back({{"proto", name(forward.proto)},
                        {"port", ports(forward.port)},
                        {"to", to_string(forward.to)},
                        {"to_port", ports(forward.to_port ? forward.to_port : forward.port)}});
  }
  return forwards;
}

}  // namespace

std::string render(const WebMessage& message) {
  std::string out;
  for (const auto& [kind, word] : kKinds) {
    if (kind == message.kind) out = std::string(word) + "\n";
  }
  return out + message.text;
}

Result<WebMessage> parse_web_message(std::string_view text) {
  const std::size_t end = text.find('\n');
  for (const auto& [kind, word] : kKinds) {
    if (end != std::string_view::npos && text.substr(0, end) == word)
      return WebMessage{kind, std::string(text.substr(end + 1))};
  }
  return failure("a message of bondd is not understood");
}

std::string render(const WebStart& start) {
  return dump({{"address", to_string(start.address)},
               {"host_name", start.host_name},
               {"token", std::string(start.token.view())}});
}

Result<WebStart> parse_web_start(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    const auto address = parse_ip(json.at("address").get<std::string>());
    if (!address) return tl::make_unexpected(address.error());
    return WebStart{*address, json.at("host_name").get<std::string>(),
                    secret_of(json.at("token").get<std::string>())};
  } catch (const Json::exception&) {  // its text could hold the token
    return failure("bondd's first message is not understood");
  }
}

std::string web_site_json(const model::Config& config, std::int64_t started, std::int64_t loaded) {
  Json through = Json::array();
  for (const IpPrefix& prefix : config.through_bond) through.push_back(to_string(prefix));
  const bool tap = config.backend == model::Backend::kMlvpn && config.mlvpn.tap;
  return dump({{"name", config.site},
               {"role", name(config.role)},
               {"backend", name(config.backend)},
               {"server", config.server.address},
               {"bond",
                {{"interface", config.bond.interface},
                 {"type", tap ? "tap" : "tun"},
                 {"address", to_string(config.bond.address)},
                 {"peer", to_string(config.bond.peer)}}},
               {"wans", wans_json(config)},
               {"through_bond", through},
               {"policies", policies_json(config)},
               {"forwards", forwards_json(config)},
               {"masquerade", config.masquerade},
               {"direct", config.failover.direct},
               {"started", started},
               {"loaded", loaded}});
}

}  // namespace bondd::ipc
