#include "bondd/problems/find.h"

#include <fmt/format.h>

#include <algorithm>

namespace bondd::problems {
namespace {

using model::Role;
using model::WanState;

Words site_words(const model::Config& config) {
  Words words;
  words.site = config.site;
  words.file = config.file.native();
  words.server = config.server.address;
  return words;
}

bool any_heard(const SiteFacts& facts) {
  return std::ranges::any_of(facts.states, [](const auto& wan) { return model::is_heard(wan.state); });
}

bool any_under_password(const SiteFacts& facts) {
  return std::ranges::any_of(facts.states, [](const auto& wan) {
    return model::is_heard(wan.state) && wan.protection == model::Protection::kPassword;
  });
}

// An end that hears nothing asks ten times a second. Much less than the patience of kOneWay, so that a line
// that is cut in both directions, or a peer that goes, is not taken for one.
constexpr double kArrivesLatelyMs = 1500;

// The backend does not call it up, though packets of the other end come: those of this end do not get there.
bool arrives(const model::WanStatus& status) {
  return status.heard_ms_ago && *status.heard_ms_ago < kArrivesLatelyMs;
}

// What the other end says of that WAN; null: nothing. As of the last exchange, so only of use while some WAN
// is heard.
const PeerSettings::Wan* told_of(const SiteFacts& site, std::uint16_t port) {
  return site.theirs && any_heard(site) ? site.theirs->with_port(port) : nullptr;
}

// The server is there, and nothing comes from its port. Where another WAN is heard both ends have the same
// key, else nobody here can tell a closed port from a wrong key.
Code fault_behind_server(const SiteFacts& site, std::uint16_t port) {
  const auto* const told = told_of(site, port);
  if (told != nullptr && told->undecryptable) return Code::kSecretDiffers;
  return any_heard(site) ? Code::kPortSilent : Code::kPortOrSecret;
}

// An office's WAN that does not carry: the first hop that fails.
Code first_fault(const SiteFacts& site, const WanFacts& wan, const model::WanStatus& status,
                 std::uint16_t port) {
  if (wan.interface_there == Answer::kNo) return Code::kInterfaceMissing;
  if (wan.link_up == Answer::kNo) return Code::kInterfaceDown;
  if (!wan.gateway_unknown.empty()) return Code::kGatewayUnknown;
  if (wan.gateway_by_arp == Answer::kNo) return Code::kGatewaySilent;
  if (!wan.unreachable_by.empty()) return Code::kUnreachable;
  if (!wan.wrong_secret.empty()) return Code::kSecretDiffers;
  if (!wan.refused_peer.empty()) return Code::kPeerRefused;
  const bool left = status.reason == model::kPeerLeft;  // its last packet came just now
  if (arrives(status) && !left) return Code::kOneWay;
  if (wan.port_rejected == Answer::kYes) return Code::kPortRejected;
  if (wan.port_refused == Answer::kYes) return Code::kPortRefused;
  if (wan.server_answers == Answer::kYes) return fault_behind_server(site, port);
  if (wan.beyond_gateway == Answer::kNo) return Code::kLineDead;
  // Where another WAN hears the server it is there: the port is at fault, or a ping is not let through.
  if (wan.beyond_gateway == Answer::kYes) return any_heard(site) ? Code::kPortSilent : Code::kServerDead;
  return left ? Code::kPeerLeft : Code::kNoReply;
}

// A WAN that is heard, though what is sent by it is lost: told by the neighbour table, and by the other end,
// which sends on while it hears nothing. Nothing: it works both ways as far as is known.
std::optional<Code> one_way_fault(const SiteFacts& site, std::size_t index) {
  if (site.wans[index].gateway_by_arp == Answer::kNo) return Code::kGatewaySilent;
  if (!site.theirs) return std::nullopt;
  const auto* const other = site.theirs->with_port(site.config->wans[index].port);
  if (other == nullptr || !other->unheard) return std::nullopt;
  return site.wans[index].unreachable_by.empty() ? Code::kOneWay : Code::kUnreachable;
}

Code first_fault_at_server(const SiteFacts& site, const WanFacts& wan, const model::WanStatus& status) {
  if (!wan.wrong_secret.empty()) return Code::kSecretDiffers;
  if (!wan.refused_peer.empty()) return Code::kPeerRefused;
  if (arrives(status)) return Code::kOneWay;
  return any_heard(site) ? Code::kOfficeSilent : Code::kOfficeAway;
}

Code fault_of_silent(const SiteFacts& site, std::size_t index) {
  const WanFacts& wan = site.wans[index];
  const model::WanStatus& status = site.states[index];
  return site.config->role == Role::kServer ? first_fault_at_server(site, wan, status)
                                            : first_fault(site, wan, status, site.config->wans[index].port);
}

// Where nothing shows that packets get there, there is nothing to say of keys.
std::string key_if_reached(const WanFacts& wan) {
  return wan.server_answers == Answer::kYes ? ", and that both ends have the same key or password" : "";
}

Found wan_fault(const SiteFacts& site, std::size_t index, Code code) {
  const model::Wan& configured = site.config->wans[index];
  const WanFacts& wan = site.wans[index];
  Found found{code, site_words(*site.config)};
  Words& words = found.words;
  words.wan = configured.name;
  words.port = configured.port;
  words.device = wan.device.empty() ? configured.device : wan.device;
  words.gateway = wan.gateway;
  words.hop = code == Code::kUnreachable ? wan.unreachable_by : wan.last_hop;
  const std::string& reason = site.states[index].reason;
  const auto server = parse_ip(site.config->server.address);
  const bool six = site.config->role == Role::kClient && server && !server->is_v4();
  words.detail =
      found.code == Code::kGatewayUnknown ? wan.gateway_unknown
      : found.code == Code::kSecretDiffers
          ? (wan.wrong_secret.empty() ? "the server says so" : wan.wrong_secret)
      : found.code == Code::kOneWay      ? key_if_reached(wan)
      : found.code == Code::kPeerRefused ? wan.refused_peer
      : six ? "the server's address is IPv6, which gateways of the lines do not carry yet; write the VPS's "
              "IPv4 address into [server]"
      : !reason.empty() ? reason
                        : "no reply from the server yet";
  return found;
}

void add_site_faults(const SiteFacts& facts, std::vector<Found>& out) {
  const auto add = [&](Code code, const std::string& detail) {
    if (detail.empty()) return;
    out.push_back({code, site_words(*facts.config)});
    out.back().words.detail = detail;
  };
  add(Code::kEngineDown, facts.engine_error);
  add(Code::kNameUnresolved, facts.resolve_error);
  add(Code::kRepairFailed, facts.pass_error);
  add(Code::kPastBond, facts.direct_wan);
  add(Code::kOfficeInside, facts.office_inside);
  for (const model::FixedSysctl& fixed : facts.fixed) {
    if (fixed.wanted.need != model::Need::kMay) out.push_back(about_fixed(*facts.config, fixed));
  }
}

bool is_heard(const SiteFacts& facts, const std::string& wan) {
  return std::ranges::any_of(
      facts.states, [&](const auto& state) { return state.name == wan && model::is_heard(state.state); });
}

void add_remarks(const SiteFacts& facts, std::vector<Found>& out) {
  for (const Remark& remark : facts.remarks) {
    const bool stops = remark.stops && !is_heard(facts, remark.wan);
    out.push_back({stops ? Code::kWanStopped : remark.code, site_words(*facts.config)});
    out.back().words.wan = remark.wan;
    out.back().words.detail = remark.text;
  }
}

// A problem of the site with an earlier hop explains those of its WANs.
void leave_out_explained(std::vector<Found>& found) {
  const auto hop = [](const Found& f) { return row(f.code).hop; };
  const auto hidden = [&](const Found& one) {
    return hop(one) != Hop::kNone && std::ranges::any_of(found, [&](const Found& other) {
             return hop(other) != Hop::kNone && hop(other) < hop(one) &&
                    (other.words.wan.empty() || other.words.wan == one.words.wan);
           });
  };
  std::vector<Found> left;
  std::ranges::copy_if(found, std::back_inserter(left), [&](const Found& f) { return !hidden(f); });
  found = std::move(left);
}

}  // namespace

Found about_fixed(const model::Config& config, const model::FixedSysctl& fixed) {
  const bool must = fixed.wanted.need == model::Need::kMust;
  Found found{must ? Code::kSettingFixed : Code::kRedirectsOn, site_words(config)};
  // The bond's own interface is made with the values of "default", and can be told of in no container's
  // options.
  const std::string bond = fmt::format(".conf.{}.", config.bond.interface);
  std::string key = fixed.wanted.key;
  if (const auto at = key.find(bond); at != std::string::npos) key.replace(at, bond.size(), ".conf.default.");
  found.words.key = key;
  found.words.ours = fixed.wanted.value;
  found.words.theirs = fixed.now;
  return found;
}

std::vector<Found> find(const SiteFacts& facts) {
  std::vector<Found> found;
  add_site_faults(facts, found);
  for (std::size_t i = 0; i < facts.states.size(); ++i) {
    const bool heard = model::is_heard(facts.states[i].state);
    const auto code = heard ? one_way_fault(facts, i) : fault_of_silent(facts, i);
    if (!code) continue;
    found.push_back(wan_fault(facts, i, *code));
    // Its patience begins anew with the first packet: what was said of a WAN that was not heard is over.
    found.back().words.key = heard ? "heard" : "";
  }
  if (facts.ours && facts.theirs && any_heard(facts)) {
    for (Found& one : compare(*facts.ours, *facts.theirs, !any_under_password(facts))) {
      const Words about = std::exchange(one.words, site_words(*facts.config));
      Words& words = one.words;
      words.key = about.key;
      words.ours = about.ours;
      words.theirs = about.theirs;
      words.detail = about.detail;
      words.port = about.port;
      words.wan = about.wan;
      found.push_back(std::move(one));
    }
  }
  add_remarks(facts, found);
  leave_out_explained(found);
  // A rule that stops a WAN may be why something could not be set up.
  std::ranges::stable_partition(found, [](const Found& one) { return one.code == Code::kWanStopped; });
  return found;
}

}  // namespace bondd::problems
