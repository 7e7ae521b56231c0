// Looks for what is wrong with a running site: gathers the facts (the kernel's neighbour table, probes
// along a WAN that is not heard, what the peer tells of its file), and keeps the problems that follow.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"
#include "bondd/control/event_loop.h"
#include "bondd/control/log.h"
#include "bondd/model/config.h"
#include "bondd/model/problem.h"
#include "bondd/model/status.h"
#include "bondd/probes/icmp_socket.h"
#include "bondd/probes/way_probe.h"
#include "bondd/problems/find.h"
#include "bondd/problems/tracker.h"
#include "netlink/neighbour_states.h"
#include "netlink/rtnl.h"

namespace bondd::control {

// What the daemon knows at this moment.
struct SiteNow {
  const model::Config& config;
  unsigned slot;
  const netlink::Snapshot& network;                   // as of the last pass
  const std::map<std::string, IpAddress>& server_of;  // by WAN
  std::vector<model::WanStatus> wans;                 // as the backend has them
  std::map<std::string, std::string> wrong_secrets;   // by WAN: packets that do not decrypt
  std::map<std::string, std::string> refused_peers;  // by WAN: the other end is less than it was or has to be
  std::string engine_error, resolve_error, pass_error;
  std::string direct_wan;     // by which new connections leave past the bond; empty: by the bond
  std::string office_inside;  // see Daemon::office_inside()
  std::optional<problems::PeerSettings> theirs;  // of the peer, if it told
  std::vector<problems::Remark> remarks;         // see Daemon::remarks()
  std::set<std::string> drained;                 // WANs that this end's admin has taken out of use
  const std::vector<model::FixedSysctl>& fixed;  // settings that are wrong and cannot be changed
  std::optional<problems::PeerSettings::SpeedTest> speed_test;             // that runs at this end
  std::optional<problems::PeerSettings::SpeedTestReady> speed_test_ready;  // to the other end's
};

class Diagnosis {
 public:
  // Without CAP_NET_RAW nothing is probed, and the rest is found all the same.
  Diagnosis(EventLoop& loop, Log& log);

  // To be called each second, and when has_news(). Logs a problem once, when it begins to be shown.
  void look(const SiteNow& site);
  // A WAN is heard, or not heard any more, since the last look: what that found of it is over.
  [[nodiscard]] bool has_news(const std::vector<model::WanStatus>& wans) const;
  // What is shown now, worst first.
  [[nodiscard]] std::vector<model::Problem> shown() const;
  // All that was found now, also what has not lasted long enough to be shown.
  [[nodiscard]] std::vector<model::Problem> all() const;
  // Something beyond the gateway of this WAN answered lately. Only WANs that are not heard are asked.
  [[nodiscard]] bool has_internet(const std::string& wan) const;
  // Sets the reason of each WAN that is not heard to what was found for it. One that is heard, though what is
  // sent by it is lost or cannot be read, is silent.
  void explain(std::vector<model::WanStatus>& wans) const;
  // What this end tells the peer of its file and its networks, as of the last look.
  [[nodiscard]] const problems::PeerSettings& ours() const { return ours_; }

 private:
  // `neighbours`: this machine's neighbour table; empty on a server.
  [[nodiscard]] std::vector<problems::WanFacts> wan_facts(
      const SiteNow& site, const std::vector<netlink::NeighbourState>& neighbours) const;
  [[nodiscard]] static problems::PeerSettings settings(
      const SiteNow& site, const std::vector<netlink::NeighbourState>& neighbours);
  void ask_about(const SiteNow& site);
  void send_requests();
  void read_answers();
  void report();

  EventLoop& loop_;
  Log& log_;
  probes::WayProbe probe_;
  std::optional<probes::IcmpSocket> icmp_;
  problems::Tracker tracker_;
  problems::PeerSettings ours_;
  std::vector<std::string> told_;  // texts of what was logged and still holds
  std::set<std::string> heard_;    // WANs, as of the last look
  Registration watch_, timer_;
};

}  // namespace bondd::control
