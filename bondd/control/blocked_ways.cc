#include "bondd/control/blocked_ways.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "rules/save_file.h"

namespace bondd::control {
namespace {

using rules::NftJudge;
using rules::NftPacket;
using rules::NftRefusal;
using rules::NftRuleset;
using Hook = NftPacket::Hook;
using Stage = NftRefusal::Stage;
using Refusals = std::vector<NftRefusal>;

// firewalld writes its table anew at each reload: what is added there does not last.
std::string firewalld_cure(const Way& way) {
  std::string change = way.trusted.empty() ? "" : " --zone=trusted";
  for (const std::string& device : way.trusted) change += fmt::format(" --add-interface={}", device);
  if (way.trusted.empty())
    change = fmt::format(" --add-port={}/udp", way.packet.destination_port.value_or(0));
  return fmt::format("`firewall-cmd --permanent{} && firewall-cmd --reload`", change);
}

// The words by which a rule of that chain knows the packet: only what the kernel knows there.
std::string match_at(const NftRefusal& refusal, const Way& way) {
  const bool forwarded = way.packet.hook == Hook::kForward, iptables = !refusal.iptables.empty();
  const bool knows_in = refusal.stage != Stage::kPostrouting && refusal.stage != Stage::kEgress;
  const bool knows_out = refusal.stage != Stage::kPrerouting && refusal.stage != Stage::kIngress;
  std::string out;
  const auto add_device = [&](bool known, std::string_view nft, std::string_view option,
                              const std::string& name) {
    if (forwarded && known)
      out += iptables ? fmt::format("{} {} ", option, name) : fmt::format("{} \"{}\" ", nft, name);
  };
  add_device(knows_in, "iifname", "-i", way.packet.in);
  add_device(knows_out, "oifname", "-o", way.packet.out);
  const bool raw = refusal.before_nat || !refusal.tracked || refusal.stage == Stage::kEgress;
  const Match& match = raw ? way.arriving : way.match;
  const std::string& words = iptables ? match.iptables : match.nft;
  return words.empty() ? out : out + words + " ";
}

std::string accepting_rule(const NftRefusal& refusal, const Way& way) {
  const std::string match = match_at(refusal, way);
  if (!refusal.iptables.empty())
    return fmt::format("`{} -I {} {}-j ACCEPT`", refusal.iptables, refusal.chain, match);
  return fmt::format("`nft insert rule {} {} {}accept`", refusal.table, refusal.chain, match);
}

std::string cure(const NftRefusal& refusal, const Way& way) {
  // firewalld opens ports for what comes in only.
  const bool leaves = way.packet.hook == Hook::kOutput;
  if (refusal.table == "inet firewalld" && !leaves) return firewalld_cure(way);
  return accepting_rule(refusal, way);
}

bool same_place(const NftRefusal& a, const NftRefusal& b) {
  return a.table == b.table && a.chain == b.chain;
}

// The places that `judge` names for each of these packets.
template <typename Judge>
Refusals common(const std::vector<NftPacket>& packets, Judge judge) {
  Refusals out;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    Refusals now = judge(packets[i]);
    if (i == 0) out = now;
    std::erase_if(out, [&](const NftRefusal& one) {
      return std::none_of(now.begin(), now.end(),
                          [&](const NftRefusal& other) { return same_place(one, other); });
    });
    if (out.empty()) break;
  }
  return out;
}

// The places that refuse the whole way.
Refusals sure_refusals(const Way& way, const NftJudge& judge) {
  return common(way.examples, [&](const NftPacket& packet) {
    Refusals all = judge.refusals(packet);
    std::erase_if(all, [](const NftRefusal& one) { return !one.sure; });
    return all;
  });
}

// Those that refuse what usual hosts send there, or let it through only by what is not known: most of the way
// is blocked, but for an address or a set of the admin's.
Refusals possible_refusals(const Way& way, const NftJudge& judge) {
  return common(hosts_of(way), [&](const NftPacket& packet) { return judge.refusals(packet); });
}

std::string place(const NftRefusal& refusal) {
  const std::string by = refusal.policy                      ? " (its policy)"
                         : refusal.deciding == refusal.chain ? ""
                                                             : fmt::format(" (in {})", refusal.deciding);
  return fmt::format("table {}, chain {}{}", refusal.table, refusal.chain, by);
}

Refusals untracking(const Way& way, const NftJudge& judge) {
  return common(way.examples, [&](const NftPacket& packet) { return judge.untracking(packet); });
}

// What the new source does to the way; empty: nothing.
std::string changed_source(const Way& way, const rules::NftNat& nat) {
  if (!way.answered_sources || !nat.to) return "";
  const bool fits = std::any_of(way.answered_sources->begin(), way.answered_sources->end(),
                                [&](const IpPrefix& one) { return one.contains(*nat.to); });
  if (fits) return "";
  return fmt::format("NAT gives {} the address {}, to which no answer comes back", way.what,
                     to_string(*nat.to));
}

class Report {
 public:
  explicit Report(const NftRuleset& ruleset) : judge_(ruleset) {}

  void add(const Way& way, bool heard) {
    if (way.needs_tracking && add_untracked(way)) return;
    const Refusals sure = sure_refusals(way, judge_);
    const bool led_away = add_translations(way);
    Refused& direction = tunnels_[{way.wan, way.packet.hook}];
    ++direction.ways;
    direction.refused += sure.empty() && !led_away ? 0 : 1;
    for (const NftRefusal& refusal : sure) {
      say(way,
          fmt::format("the firewall drops {}: {}; let it through: {}", way.what, place(refusal),
                      cure(refusal, way)),
          true);
    }
    if (heard) return;
    for (const NftRefusal& refusal : possible_refusals(way, judge_)) {
      if (std::any_of(sure.begin(), sure.end(), [&](const auto& one) { return same_place(one, refusal); }))
        continue;
      say(way,
          fmt::format("the firewall may drop {}: {}; let it through: {}", way.what, place(refusal),
                      cure(refusal, way)),
          false);
    }
  }

  void add_unseen(const std::vector<std::string>& unseen) {
    if (unseen.empty()) return;
    say({},
        fmt::format("not all of the firewall could be read, and what was not may drop the site's packets: {}",
                    fmt::join(unseen, ", ")),
        false);
  }

  // A WAN whose packets may leave, or come in, by several devices is stopped when each of them is.
  [[nodiscard]] std::vector<Blocked> take() {
    std::vector<Blocked> out;
    for (Said& one : said_) {
      const Refused& direction = tunnels_[one.direction];
      one.blocked.stops = one.sure && !one.blocked.wan.empty() && direction.refused == direction.ways;
      out.push_back(std::move(one.blocked));
    }
    return out;
  }

 private:
  // What is refused of packets without a connection is another matter, of other rules.
  bool add_untracked(const Way& whole) {
    const auto add = [&](const Way& way) {
      const Refusals found = untracking(way, judge_);
      for (const NftRefusal& refusal : found) {
        say(way,
            fmt::format(
                "the firewall does not track {} (NOTRACK), so it gets no NAT or no answers: {}; have it "
                "tracked: {}",
                way.what, place(refusal), accepting_rule(refusal, way)),
            false);
      }
      return !found.empty();
    };
    const bool all = add(whole);
    for (const Way& way : by_port(whole)) {
      if (!all) add(way);
    }
    return all;
  }

  // True when another's NAT leads it elsewhere.
  bool add_translations(const Way& way) {
    bool led_away = false;
    const Refusals found =
        common(way.examples, [&](const NftPacket& packet) { return judge_.translations(packet); });
    for (const NftRefusal& one : found) {
      if (rules::is_ours(one.deciding)) continue;
      const bool away = one.nat->changes == rules::NftNat::Changes::kDestination;
      const std::string what =
          away ? fmt::format("NAT leads {} elsewhere", way.what) : changed_source(way, *one.nat);
      if (what.empty()) continue;
      const std::string cure = way.own_nat ? "delete it, or put it behind bondd's"
                                           : fmt::format("leave it alone: {}", accepting_rule(one, way));
      say(way, fmt::format("{}: {}, rule {} ({}); {}", what, place(one), one.rule, one.nat->target, cure),
          away);
      led_away = led_away || away;
    }
    return led_away;
  }

  using Direction = std::pair<std::string, Hook>;  // a WAN's packets that leave, or that come in
  struct Refused {
    int ways = 0, refused = 0;
  };
  struct Said {
    Blocked blocked;
    Direction direction;
    bool sure = false;
  };

  void say(const Way& way, std::string text, bool sure) {
    const bool known =
        std::any_of(said_.begin(), said_.end(), [&](const Said& one) { return one.blocked.text == text; });
    if (known) return;
    Said& one = said_.emplace_back();
    one.blocked.wan = way.wan;
    one.blocked.text = std::move(text);
    one.direction = {way.wan, way.packet.hook};
    one.sure = sure;
  }

  NftJudge judge_;
  std::vector<Said> said_;
  std::map<Direction, Refused> tunnels_;
};

}  // namespace

std::vector<Blocked> blocked_ways(const std::vector<Way>& ways, const NftRuleset& ruleset,
                                  const std::set<std::string>& heard) {
  Report report(ruleset);
  for (const Way& way : ways) report.add(way, heard.contains(way.wan));
  report.add_unseen(ruleset.unseen);
  return report.take();
}

}  // namespace bondd::control
