#include "bondd/plan/mangle.h"

#include <fmt/format.h>

#include <algorithm>

#include "bondd/model/ownership.h"
#include "bondd/plan/words.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using model::Match;
using model::Role;

Words match_words(const Match& match) {
  Words words;
  if (match.source) words = words + source(*match.source);
  if (match.destination) words = words + destination(*match.destination);
  words = words + proto(match.proto);
  if (match.sport) words = words + Words{"--sport", ports(*match.sport)};
  if (match.dport) words = words + Words{"--dport", ports(*match.dport)};
  return words;
}

class Builder {
 public:
  Builder(const Config& config, const Facts& facts) : config_(config), facts_(facts) {}

  rules::Table build() {
    add_mss();
    add_steering();
    add_reply_marks();
    return std::move(mangle_);
  }

 private:
  void add_chain(std::string_view part, std::string_view builtin, std::vector<Words> rules) {
    if (rules.empty()) return;
    const std::string chain = model::chain_name(part, config_.site);
    mangle_.chains.push_back(rules::Chain{chain, std::move(rules)});
    mangle_.jumps.push_back(rules::Jump{std::string(builtin), chain, true});
  }

  [[nodiscard]] unsigned wan_number(const std::string& wan) const {
    const auto found = std::find_if(config_.wans.begin(), config_.wans.end(),
                                    [&](const model::Wan& w) { return w.name == wan; });
    return static_cast<unsigned>(found - config_.wans.begin()) + 1;
  }

  // mangle FORWARD: a TCP segment must fit the tunnel in both directions.
  void add_mss() {
    const Words clamp{"-p",      "tcp", "-m", "tcp",    "--tcp-flags",
                      "SYN,RST", "SYN", "-j", "TCPMSS", "--clamp-mss-to-pmtu"};
    add_chain("MSS", "FORWARD",
              {Words{"-i", config_.bond.interface} + clamp, Words{"-o", config_.bond.interface} + clamp});
  }

  // mangle OUTPUT and PREROUTING: the mark that leads a policy's traffic to its WAN's table. What has a mark
  // of ours keeps it: a policy that also fits the tunnels (all of UDP) must not lead them by one WAN.
  void add_steering() {
    std::vector<Words> rules{with_any_mark() + Words{"-j", "RETURN"}};
    for (const model::Policy& policy : config_.policies) {
      const std::uint32_t mark = model::policy_mark(facts_.slot, wan_number(policy.wan));
      for (const Match& match : policy.matches) {
        rules.push_back(match_words(match) + Words{"-j", "MARK", "--set-xmark", masked(mark)});
      }
    }
    if (rules.size() == 1) return;
    add_chain("OUT", "OUTPUT", rules);
    rules.insert(rules.begin(), Words{"-i", config_.bond.interface, "-j", "RETURN"});
    add_chain("PRE", "PREROUTING", std::move(rules));
  }

  // mangle: a connection that came in through the bond is answered through the bond, even where
  // through_bond says otherwise. Only the office has another way out.
  void add_reply_marks() {
    if (config_.role != Role::kClient) return;
    const std::string& bond = config_.bond.interface;
    const std::string mark = masked(model::reply_mark(facts_.slot));
    const Words restore{"-m",
                        "connmark",
                        "--mark",
                        mark,
                        "-j",
                        "CONNMARK",
                        "--restore-mark",
                        "--nfmask",
                        fmt::format("{:#x}", model::kMarkMask),
                        "--ctmask",
                        fmt::format("{:#x}", model::kMarkMask)};
    add_chain(
        "RPL", "PREROUTING",
        {Words{"-i", bond, "-m", "conntrack", "--ctstate", "NEW", "-j", "CONNMARK", "--set-xmark", mark},
         Words{"!", "-i", bond} + restore});
    add_chain("RPO", "OUTPUT", {restore});
  }

  const Config& config_;
  const Facts& facts_;
  rules::Table mangle_{"mangle", {}, {}};
};

}  // namespace

rules::Table plan_mangle(const Config& config, const Facts& facts) {
  return Builder(config, facts).build();
}

}  // namespace bondd::plan
