#include "rules/nft_verdict.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "rules/builtin_chains.h"
#include "rules/nft_machine.h"

namespace bondd::rules {
namespace {

using Stage = NftRefusal::Stage;
using Hook = NftPacket::Hook;

// NF_IP_PRI_*. At exactly this priority it depends on who came first.
constexpr std::int32_t kConntrack = -200, kDestinationNat = -100, kSourceNat = 100;

bool is_among(const std::vector<std::string>& devices, const std::string& wanted) {
  return std::any_of(devices.begin(), devices.end(), [&](const std::string& device) {
    const bool beginning = device.ends_with('*');
    return beginning ? wanted.starts_with(std::string_view(device).substr(0, device.size() - 1))
                     : device == wanted;
  });
}

// Where a base chain meets the packet; nothing: never.
std::optional<Stage> stage_of(const NftPacket& packet, std::uint8_t family, const NftHook& hook) {
  const bool arrives = packet.hook != Hook::kOutput, leaves = packet.hook != Hook::kInput;
  const bool ingress = family == NFPROTO_NETDEV ? hook.number == NF_NETDEV_INGRESS
                                                : family == NFPROTO_INET && hook.number == NF_INET_INGRESS;
  if (ingress)
    return arrives && is_among(hook.devices, packet.in) ? std::optional(Stage::kIngress) : std::nullopt;
  if (family == NFPROTO_NETDEV) {
    const bool there = leaves && hook.number == NF_NETDEV_EGRESS && is_among(hook.devices, packet.out);
    return there ? std::optional(Stage::kEgress) : std::nullopt;
  }
  if (hook.number == NF_INET_PRE_ROUTING) return arrives ? std::optional(Stage::kPrerouting) : std::nullopt;
  if (hook.number == NF_INET_POST_ROUTING) return leaves ? std::optional(Stage::kPostrouting) : std::nullopt;
  const std::uint32_t main = packet.hook == Hook::kInput     ? NF_INET_LOCAL_IN
                             : packet.hook == Hook::kForward ? NF_INET_FORWARD
                                                             : NF_INET_LOCAL_OUT;
  return hook.number == main ? std::optional(Stage::kMain) : std::nullopt;
}

Tracking tracking_of(const NftPacket& packet, Stage stage, std::int32_t priority, Answer untracked) {
  const bool early = stage == Stage::kPrerouting || (stage == Stage::kMain && packet.hook == Hook::kOutput);
  if (stage == Stage::kIngress || (early && priority < kConntrack)) return Tracking::kNotYet;
  if (untracked == Answer::kMaybe || (early && priority == kConntrack)) return Tracking::kUnknown;
  return untracked == Answer::kYes ? Tracking::kUntracked : Tracking::kTracked;
}

void forget_destination(NftPacket& packet) {
  packet.destination.reset();
  packet.destination_network.reset();
  packet.destination_port.reset();
}

bool is_before_nat(const NftPacket& packet, Stage stage, std::int32_t priority) {
  const bool changes = packet.translated || packet.arriving.has_value();
  return changes &&
         (stage == Stage::kIngress || (stage == Stage::kPrerouting && priority <= kDestinationNat));
}

// What a chain sees of the packet. `untracked`: whether an earlier one has taken it out of connection
// tracking.
SeenPacket seen(const NftPacket& packet, Stage stage, const NftHook& hook, Answer untracked) {
  const std::int32_t priority = hook.priority;
  SeenPacket out{packet, tracking_of(packet, stage, priority, untracked), false, false, {}, {}};
  out.source_type = packet.hook == Hook::kOutput ? RTN_LOCAL : RTN_UNICAST;
  out.destination_type = packet.hook == Hook::kInput ? RTN_LOCAL : RTN_UNICAST;
  NftPacket& there = out.packet;
  if (is_before_nat(packet, stage, priority)) {
    forget_destination(there);
    if (packet.arriving) {
      there.destination = packet.arriving->destination;
      there.destination_port = packet.arriving->port;
    }
    there.translated = false;
    out.destination_type = RTN_LOCAL;
  }
  switch (stage) {
    case Stage::kIngress:
    case Stage::kPrerouting:
      out.no_out = true;
      there.out.clear();
      there.out_index = 0;
      break;
    case Stage::kMain:
      out.no_out = packet.hook == Hook::kInput;
      out.no_in = packet.hook == Hook::kOutput;
      break;
    case Stage::kPostrouting:
    case Stage::kEgress:
      out.no_in = stage == Stage::kEgress;
      there.in.clear();
      there.in_index = 0;
      // A chain for NAT that meets the packet at all sees it with the source that it came with.
      if (stage == Stage::kEgress || (priority >= kSourceNat && hook.type != "nat")) {
        there.source.reset();
        there.source_network.reset();
        there.source_port.reset();
      }
      break;
  }
  return out;
}

std::string name_of(const NftTable& table) {
  if (!table.legacy.empty()) return table.name + " of iptables-legacy";
  return fmt::format("{} {}",
                     table.family == NFPROTO_INET     ? "inet"
                     : table.family == NFPROTO_NETDEV ? "netdev"
                                                      : "ip",
                     table.name);
}

// "iptables-nft -t raw", for a chain that iptables made or could have made: nft's words there would hide the
// whole table from iptables.
std::string iptables_for(const NftTable& table, const NftChain& chain) {
  const auto builtin = std::any_of(kBuiltins.begin(), kBuiltins.end(), [&](const Builtin& one) {
    return table.family == NFPROTO_IPV4 && one.table == table.name && one.chain == chain.name &&
           one.hook == chain.hook->number && one.priority == chain.hook->priority;
  });
  if (!builtin) return "";
  const std::string program = table.legacy.empty() ? "iptables-nft" : table.legacy;
  return table.name == "filter" ? program : fmt::format("{} -t {}", program, table.name);
}

// A base chain that the packet meets, and what it sees of it.
struct Meeting {
  const NftTable* table = nullptr;
  const NftChain* chain = nullptr;
  Stage stage = Stage::kMain;
  SeenPacket packet;

  [[nodiscard]] NftRefusal refusal(const NftPacket& whole) const {
    NftRefusal out;
    out.table = name_of(*table);
    out.chain = out.deciding = chain->name;
    out.stage = stage;
    out.before_nat = is_before_nat(whole, stage, chain->hook->priority);
    out.tracked = packet.tracking == Tracking::kTracked;
    out.iptables = iptables_for(*table, *chain);
    return out;
  }
};

std::vector<Meeting> meetings(const NftRuleset& ruleset, const NftPacket& packet, Answer untracked) {
  std::vector<Meeting> out;
  for (const NftTable& table : ruleset.tables) {
    const bool sees_ipv4 =
        table.family == NFPROTO_IPV4 || table.family == NFPROTO_INET || table.family == NFPROTO_NETDEV;
    if (table.dormant || !sees_ipv4) continue;
    for (const NftChain& chain : table.chains) {
      const auto stage = chain.hook ? stage_of(packet, table.family, *chain.hook) : std::nullopt;
      if (!stage) continue;
      Meeting meeting{&table, &chain, *stage, seen(packet, *stage, *chain.hook, untracked)};
      // Only first packets of a tracked connection pass a chain for NAT.
      const bool nat = chain.hook->type == "nat";
      if (nat && (packet.answer || meeting.packet.tracking != Tracking::kTracked)) continue;
      out.push_back(std::move(meeting));
    }
  }
  return out;
}

std::optional<NftRefusal> refusal(const Meeting& meeting, const NftPacket& packet) {
  using End = Decision::End;
  const Decision decision = NftMachine(*meeting.table, meeting.packet).run(*meeting.chain);
  const bool by_rule = decision.end == End::kRefused || decision.end == End::kMayRefuse;
  const bool by_policy =
      meeting.chain->hook->drops && (decision.end == End::kThrough || decision.end == End::kUnknown);
  if (!by_rule && !by_policy) return std::nullopt;
  NftRefusal out = meeting.refusal(packet);
  out.policy = by_policy;
  out.sure = decision.end == End::kRefused || decision.end == End::kThrough;
  if (by_rule) out.deciding = decision.deciding;
  return out;
}

Answer untracked_by(const Meeting& meeting) {
  if (meeting.packet.tracking != Tracking::kNotYet) return Answer::kNo;
  NftMachine machine(*meeting.table, meeting.packet);
  machine.run(*meeting.chain);
  return machine.untracks();
}

bool untracks(const NftRule& rule) {
  return std::any_of(rule.expressions.begin(), rule.expressions.end(), [](const NftExpression& expression) {
    return std::holds_alternative<NftNoTrack>(expression);
  });
}

}  // namespace

NftJudge::NftJudge(const NftRuleset& ruleset) : ruleset_(ruleset), written_(written_mark_bits(ruleset)) {
  for (const NftTable& table : ruleset.tables) {
    for (const NftChain& chain : table.chains)
      untracks_ = untracks_ || std::any_of(chain.rules.begin(), chain.rules.end(), untracks);
  }
}

std::vector<NftRefusal> NftJudge::refusals(const NftPacket& whole) const {
  NftPacket packet = whole;
  packet.zero_bits &= ~written_;
  Answer untracked = Answer::kNo;
  auto met = meetings(ruleset_, packet, untracked);
  for (const Meeting& meeting : met) {
    if (untracks_) untracked = std::max(untracked, untracked_by(meeting));
  }
  if (untracked != Answer::kNo) met = meetings(ruleset_, packet, untracked);
  std::vector<NftRefusal> out;
  for (const Meeting& meeting : met) {
    if (auto found = refusal(meeting, packet)) out.push_back(std::move(*found));
  }
  return out;
}

std::vector<NftRefusal> NftJudge::translations(const NftPacket& whole) const {
  NftPacket packet = whole;
  packet.zero_bits &= ~written_;
  auto met = meetings(ruleset_, packet, Answer::kNo);
  std::erase_if(met, [](const Meeting& one) { return one.chain->hook->type != "nat"; });
  std::stable_sort(met.begin(), met.end(), [](const Meeting& a, const Meeting& b) {
    return a.chain->hook->priority < b.chain->hook->priority;
  });
  std::vector<NftRefusal> out;
  for (const auto changes : {NftNat::Changes::kDestination, NftNat::Changes::kSource}) {
    for (const Meeting& meeting : met) {
      if ((meeting.stage == Stage::kPostrouting) != (changes == NftNat::Changes::kSource)) continue;
      Decision decision = NftMachine(*meeting.table, meeting.packet).run(*meeting.chain);
      const bool perhaps =
          decision.end != Decision::End::kAccepted && decision.end != Decision::End::kThrough;
      if (perhaps) break;
      if (!decision.nat || decision.nat->changes != changes) continue;
      NftRefusal& found = out.emplace_back(meeting.refusal(packet));
      found.deciding = decision.deciding;
      found.nat = std::move(decision.nat);
      found.rule = decision.rule;
      break;
    }
  }
  return out;
}

std::vector<NftRefusal> NftJudge::untracking(const NftPacket& whole) const {
  std::vector<NftRefusal> out;
  if (!untracks_) return out;
  NftPacket packet = whole;
  packet.zero_bits &= ~written_;
  for (const Meeting& meeting : meetings(ruleset_, packet, Answer::kNo)) {
    if (untracked_by(meeting) == Answer::kYes) out.push_back(meeting.refusal(packet));
  }
  return out;
}

}  // namespace bondd::rules
