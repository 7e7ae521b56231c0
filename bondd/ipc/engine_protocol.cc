#include "bondd/ipc/engine_protocol.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "bondd/ipc/wan_json.h"

// Exceptions of the JSON library stay in this file.
namespace nlohmann {

template <typename T>
struct adl_serializer<std::optional<T>> {
  static void to_json(json& out, const std::optional<T>& value) {
    if (value) {
      out = *value;
    } else {
      out = nullptr;
    }
  }
  static void from_json(const json& in, std::optional<T>& value) {
    if (in.is_null()) {
      value.reset();
    } else {
      value = in.get<T>();
    }
  }
};

template <>
struct adl_serializer<bondd::Duration> {
  static void to_json(json& out, const bondd::Duration& value) { out = value.count(); }
  static void from_json(const json& in, bondd::Duration& value) {
    value = bondd::Duration(in.get<std::int64_t>());
  }
};

}  // namespace nlohmann

namespace bondd {

static void to_json(nlohmann::json& out, const Rate& value) {
  out = value.bits_per_second;
}
static void from_json(const nlohmann::json& in, Rate& value) {
  in.get_to(value.bits_per_second);
}
static void to_json(nlohmann::json& out, const IpAddress& value) {
  out = to_string(value);
}
static void from_json(const nlohmann::json& in, IpAddress& value) {
  const auto parsed = parse_ip(in.get<std::string>());
  if (!parsed) throw std::invalid_argument(parsed.error().message);
  value = *parsed;
}

namespace model {

using nlohmann::json;

static void to_json(json& out, WanState state) {
  out = to_string(state);
}
static void from_json(const json& in, WanState& state) {
  const auto parsed = parse_wan_state(in.get<std::string>());
  if (!parsed) throw std::invalid_argument("unknown state of a link");
  state = *parsed;
}
// The words of the file.
constexpr std::array<const char*, 3> kPeers{"auto", "bondd", "mlvpn"};

static void to_json(json& out, MlvpnPeer peer) {
  out = kPeers.at(static_cast<std::size_t>(peer));
}
static void from_json(const json& in, MlvpnPeer& peer) {
  const auto text = in.get<std::string>();
  const auto found = std::ranges::find(kPeers, text);
  if (found == kPeers.end()) throw std::invalid_argument("unknown kind of peer");
  peer = static_cast<MlvpnPeer>(found - kPeers.begin());
}
static void to_json(json& out, const WanStatus& wan) {
  out = wan_json<json>(wan);
}
static void from_json(const json& in, WanStatus& wan) {
  wan = wan_from_json(in);
}

}  // namespace model

namespace ipc {

using nlohmann::json;

namespace {

// The names of EngineEvent::Kind.
constexpr std::array<const char*, 6> kKinds{"state",          "peer-moved", "resolve",
                                            "wrong-password", "downgrade",  "notice"};

}  // namespace

static void to_json(json& out, EngineEvent::Kind kind) {
  out = kKinds.at(static_cast<std::size_t>(kind));
}
static void from_json(const json& in, EngineEvent::Kind& kind) {
  const auto text = in.get<std::string>();
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (text == kKinds[i]) {
      kind = static_cast<EngineEvent::Kind>(i);
      return;
    }
  }
  throw std::invalid_argument("unknown kind of event \"" + text + "\"");
}

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineEndpoint, address, port)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineLink, name, remote, upload, weight, fallback_only, timeout,
                                   loss_tolerance, latency_tolerance)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineStart, server, clear_data, reorder, peer, peer_proved, repair,
                                   offloads, max_reorder_wait, links)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineAddLink, link)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineUpdateLink, link)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineRemoveLink, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineReplaceSocket, name)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineSetRemote, name, remote)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineSetNotice, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineReady, crypto, tun, sandbox)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineEvent, kind, link, from, state, reason)
// What is shown of a link stands beside what is only the engine's.
static void to_json(json& out, const EngineLinkStatus& link) {
  out = link.wan;
  out["peer_is_bondd"] = link.peer_is_bondd;
  out["peer"] = link.peer;
  out["path"] = link.path;
  out["rtt_var_ms"] = link.rtt_var_ms;
  out["rx_packets"] = link.rx_packets;
  out["tx_packets"] = link.tx_packets;
  out["disconnects"] = link.disconnects;
  out["peer_rest_ms"] = link.peer_rest_ms;
}
static void from_json(const json& in, EngineLinkStatus& link) {
  in.get_to(link.wan);
  in.at("peer_is_bondd").get_to(link.peer_is_bondd);
  in.at("peer").get_to(link.peer);
  in.at("path").get_to(link.path);
  in.at("rtt_var_ms").get_to(link.rtt_var_ms);
  in.at("rx_packets").get_to(link.rx_packets);
  in.at("tx_packets").get_to(link.tx_packets);
  in.at("disconnects").get_to(link.disconnects);
  in.at("peer_rest_ms").get_to(link.peer_rest_ms);
}
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineCounters, malformed, bad_mac, replayed, foreign, delivered, late,
                                   duplicates, holes_lost, dropped_no_link, dropped_no_buffer,
                                   dropped_oversize, reorder_held, ingress_queued, tun_reads, tun_writes,
                                   tun_refused, tun_rx_packets, tun_rx_bytes, tun_tx_packets, tun_tx_bytes,
                                   udp_receive_calls, udp_receive_messages, udp_send_calls, udp_send_messages,
                                   udp_blocked, udp_failed, udp_oversize)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineStatus, links, counters)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineFailure, message, fatal)

// Types without a member: the library's macro cannot write these.
static void to_json(json& out, const EngineSetPassword&) {
  out = json::object();
}
static void from_json(const json&, EngineSetPassword&) {}
static void to_json(json& out, const EngineGetStatus&) {
  out = json::object();
}
static void from_json(const json&, EngineGetStatus&) {}
static void to_json(json& out, const EngineStop&) {
  out = json::object();
}
static void from_json(const json&, EngineStop&) {}

namespace {

// "type" of each alternative, in the variant's order.
constexpr std::array kRequests{"start",      "add-link",     "update-link", "remove-link", "replace-socket",
                               "set-remote", "set-password", "set-notice",  "get-status",  "stop"};
constexpr std::array kReports{"ready", "event", "status", "failure"};
static_assert(kRequests.size() == std::variant_size_v<EngineRequest>);
static_assert(kReports.size() == std::variant_size_v<EngineReport>);

template <typename Variant, std::size_t N>
std::string render_variant(const Variant& value, const std::array<const char*, N>& names) {
  json out = std::visit([](const auto& part) { return json(part); }, value);
  out["type"] = names[value.index()];
  // Texts from the outside (a peer's name, say) may be no UTF-8: replace, not throw.
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

template <typename Variant, std::size_t Index = 0, std::size_t N>
Variant parse_variant(const json& in, const std::string& type, const std::array<const char*, N>& names) {
  if constexpr (Index == N) {
    throw std::invalid_argument("unknown message \"" + type + "\"");
  } else {
    if (type == names[Index]) return in.get<std::variant_alternative_t<Index, Variant>>();
    return parse_variant<Variant, Index + 1>(in, type, names);
  }
}

template <typename Variant, std::size_t N>
Result<Variant> parse_text(std::string_view text, const std::array<const char*, N>& names) {
  try {
    const json in = json::parse(text);
    return parse_variant<Variant>(in, in.at("type").get<std::string>(), names);
  } catch (const std::exception& error) {
    return failure(std::string("malformed message: ") + error.what());
  }
}

}  // namespace

std::string render(const EngineRequest& request) {
  return render_variant(request, kRequests);
}
std::string render(const EngineReport& report) {
  return render_variant(report, kReports);
}
Result<EngineRequest> parse_request(std::string_view text) {
  return parse_text<EngineRequest>(text, kRequests);
}
Result<EngineReport> parse_report(std::string_view text) {
  return parse_text<EngineReport>(text, kReports);
}

}  // namespace ipc
}  // namespace bondd
