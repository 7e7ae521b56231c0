#include "bondd/control/diagnosis.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/lans.h"
#include "bondd/plan/tunnels.h"

namespace bondd::control {
namespace {

using model::Answer;
using netlink::NeighbourState;
using problems::WanFacts;

Answer by_arp(const std::vector<NeighbourState>& neighbours, int device, const IpAddress& gateway) {
  for (const NeighbourState& neighbour : neighbours) {
    if (neighbour.device != device || neighbour.address != gateway) continue;
    switch (neighbour.state) {
      case NeighbourState::State::kAnswers:
        return Answer::kYes;
      case NeighbourState::State::kFailed:
        return Answer::kNo;
      case NeighbourState::State::kOther:
        return Answer::kUnknown;
    }
  }
  return Answer::kUnknown;
}

// The interface and the gateway of an office's WAN.
WanFacts local_facts(const model::Wan& wan, const SiteNow& site,
                     const std::vector<NeighbourState>& neighbours) {
  WanFacts facts;
  const plan::Exit exit = plan::find_exit(wan, site.network);
  facts.device = exit.device.empty() ? wan.device : exit.device;
  if (facts.device.empty()) {
    facts.gateway_unknown = exit.waits;
    return facts;
  }
  const auto link = site.network.facts.find(facts.device);
  facts.interface_there = link == site.network.facts.end() ? Answer::kNo : Answer::kYes;
  if (link == site.network.facts.end()) return facts;
  facts.link_up = link->second.carrier ? Answer::kYes : Answer::kNo;
  if (!exit.known()) {
    facts.gateway_unknown = exit.waits;
  } else if (exit.gateway) {
    facts.gateway = to_string(*exit.gateway);
    facts.gateway_by_arp = by_arp(neighbours, link->second.index, *exit.gateway);
  }
  return facts;
}

// Whom the neighbour table knows: hosts that answered, or asked for this machine.
std::set<IpAddress> hosts_met(const std::vector<NeighbourState>& neighbours) {
  std::set<IpAddress> hosts;
  for (const NeighbourState& one : neighbours) {
    if (one.state == NeighbourState::State::kAnswers) hosts.insert(one.address);
  }
  return hosts;
}

bool logged_elsewhere(const std::string& code) {
  return std::ranges::any_of(
      problems::table(), [&](const problems::Row& row) { return row.logged_elsewhere && row.name == code; });
}

// The peer receives nothing of this WAN, though it may be heard here.
bool is_lost_there(const SiteNow& site, const model::Wan& wan) {
  const auto* const other = site.theirs ? site.theirs->with_port(wan.port) : nullptr;
  return other != nullptr && other->unheard;
}

}  // namespace

Diagnosis::Diagnosis(EventLoop& loop, Log& log) : loop_(loop), log_(log) {
  auto icmp = probes::IcmpSocket::open(static_cast<std::uint16_t>(getpid()));
  if (!icmp) return;
  icmp_.emplace(std::move(*icmp));
  watch_ = loop_.watch(icmp_->fd(), EPOLLIN, [this](std::uint32_t) { read_answers(); });
}

void Diagnosis::read_answers() {
  while (const auto answer = icmp_->receive()) probe_.handle_answer(EventLoop::now(), *answer);
}

void Diagnosis::send_requests() {
  if (!icmp_) return;
  for (const auto& request : probe_.poll_requests(EventLoop::now())) icmp_->send(request);
}

// Only WANs whose packets do not pass both ways are asked about, and only on an office: a server does not
// begin anything.
void Diagnosis::ask_about(const SiteNow& site) {
  std::vector<probes::WayProbe::Target> targets;
  for (std::size_t i = 0; i < site.config.wans.size(); ++i) {
    const model::Wan& wan = site.config.wans[i];
    const auto server = site.server_of.find(wan.name);
    const bool passes = model::is_heard(site.wans[i].state) && !is_lost_there(site, wan);
    if (site.config.role == model::Role::kServer || passes || server == site.server_of.end()) continue;
    const plan::Exit exit = plan::find_exit(wan, site.network);
    targets.push_back({wan.name, server->second, exit.gateway, wan.port,
                       model::tunnel_mark(site.config.mark_mask, site.slot, static_cast<unsigned>(i) + 1)});
  }
  probe_.set_targets(targets);
  send_requests();
}

std::vector<WanFacts> Diagnosis::wan_facts(const SiteNow& site,
                                           const std::vector<NeighbourState>& neighbours) const {
  const bool client = site.config.role == model::Role::kClient;
  std::vector<WanFacts> out;
  for (const model::Wan& wan : site.config.wans) {
    WanFacts facts = client ? local_facts(wan, site, neighbours) : WanFacts{};
    const probes::Way way = probe_.way(EventLoop::now(), wan.name);
    facts.beyond_gateway = way.beyond_gateway;
    facts.server_answers = way.server;
    facts.port_refused = way.port_refused;
    facts.port_rejected = way.port_rejected;
    facts.last_hop = way.last_hop;
    facts.unreachable_by = way.unreachable_by;
    if (const auto wrong = site.wrong_secrets.find(wan.name); wrong != site.wrong_secrets.end())
      facts.wrong_secret = wrong->second;
    if (const auto refused = site.refused_peers.find(wan.name); refused != site.refused_peers.end())
      facts.refused_peer = refused->second;
    out.push_back(std::move(facts));
  }
  return out;
}

void Diagnosis::look(const SiteNow& site) {
  ask_about(site);
  heard_ = model::heard_names(site.wans);
  std::vector<NeighbourState> neighbours;
  // Also while all WANs are heard: what arrives tells nothing of what leaves.
  if (site.config.role == model::Role::kClient)
    neighbours = netlink::read_neighbour_states().value_or(std::vector<NeighbourState>{});
  ours_ = settings(site, neighbours);
  problems::SiteFacts facts;
  facts.config = &site.config;
  facts.states = site.wans;
  facts.wans = wan_facts(site, neighbours);
  facts.resolve_error = site.resolve_error;
  facts.engine_error = site.engine_error;
  facts.pass_error = site.pass_error;
  facts.direct_wan = site.direct_wan;
  facts.office_inside = site.office_inside;
  facts.ours = ours_;
  facts.theirs = site.theirs;
  facts.remarks = site.remarks;
  facts.fixed = site.fixed;
  tracker_.update(EventLoop::now(), std::time(nullptr), problems::find(facts));
  report();
}

bool Diagnosis::has_news(const std::vector<model::WanStatus>& wans) const {
  return model::heard_names(wans) != heard_;
}

std::vector<model::Problem> Diagnosis::shown() const {
  return tracker_.visible(EventLoop::now());
}

std::vector<model::Problem> Diagnosis::all() const {
  return tracker_.all();
}

bool Diagnosis::has_internet(const std::string& wan) const {
  return probe_.way(EventLoop::now(), wan).beyond_gateway == Answer::kYes;
}

void Diagnosis::report() {
  std::vector<std::string> now;
  for (const model::Problem& problem : shown()) {
    const std::string key = fmt::format("{} {} {}", problem.code, problem.wan, problem.since);
    now.push_back(key);
    if (std::ranges::find(told_, key) != told_.end() || logged_elsewhere(problem.code)) continue;
    // A WAN that was just lost was logged with its state.
    const std::string wan = problem.wan.empty() ? "" : problem.wan + ": ";
    const std::string remedy = problem.remedy.empty() ? "" : "; " + problem.remedy;
    if (problem.severity == model::Severity::kNote) {
      log_.info(fmt::format("{}{}{}", wan, problem.text, remedy));
    } else {
      log_.warning(fmt::format("{}{}{}", wan, problem.text, remedy));
    }
  }
  told_ = std::move(now);
}

problems::PeerSettings Diagnosis::settings(const SiteNow& site,
                                           const std::vector<NeighbourState>& neighbours) {
  problems::PeerSettings out = problems::settings_of(site.config);
  for (std::size_t i = 0; i < out.wans.size() && i < site.wans.size(); ++i) {
    out.wans[i].capacity_mbit = site.wans[i].capacity_mbit;
    out.wans[i].unheard = !model::is_heard(site.wans[i].state);
    out.wans[i].undecryptable = site.wrong_secrets.contains(out.wans[i].name);
    out.wans[i].drained = site.drained.contains(out.wans[i].name);
  }
  out.takes_speed_tests = true;
  out.speed_test = site.speed_test;
  out.speed_test_ready = site.speed_test_ready;
  if (site.config.backend == model::Backend::kOpenVpnBond) {
    for (const plan::Tunnel& tunnel : plan::tunnels(site.config)) ++out.wans.at(tunnel.wan - 1).tunnels;
  }
  if (site.config.role == model::Role::kClient) {
    out.networks = plan::lan_networks(site.config, site.network, hosts_met(neighbours));
  } else {
    const auto ways = plan::internet_devices(site.config, site.network);
    if (!ways.empty()) out.way_out = ways.front();
  }
  return out;
}

void Diagnosis::explain(std::vector<model::WanStatus>& wans) const {
  const auto problems = shown();
  const auto unreadable =
      std::ranges::find(problems, row(problems::Code::kFormatDiffers).name, &model::Problem::code);
  for (model::WanStatus& wan : wans) {
    const bool heard = model::is_heard(wan.state);
    if (heard && unreadable != problems.end()) {
      wan.state = model::WanState::kSilent;
      wan.reason = unreadable->text;
      continue;
    }
    // What was found of a WAN that was not heard ends with its first packet.
    if (heard != heard_.contains(wan.name)) continue;
    const auto found = std::ranges::find_if(problems, [&](const model::Problem& problem) {
      return problem.wan == wan.name && (!heard || problem.severity == model::Severity::kError);
    });
    if (found == problems.end()) continue;
    if (heard) wan.state = model::WanState::kSilent;
    wan.reason = found->text;
  }
}

}  // namespace bondd::control
