// Which WANs an admin has taken out of use (`bondd wan SITE WAN drain`), here or at the other end. Their
// tunnels stay up and are measured, so that one is back at once when no other WAN carries any more.
// Survives a reload of the file, not a restart of bondd. A speed test takes all but one WAN out of use for
// some seconds in the same way, and has precedence. Pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/model/config.h"
#include "bondd/model/wan_status.h"
#include "bondd/problems/peer_settings.h"

namespace bondd::control {

class DrainedWans {
 public:
  // `wans`: all of the file, as they are now. The error is for people: no such WAN, or no other one carries.
  Result<> drain(const std::string& wan, const std::vector<model::WanStatus>& wans);
  // An error when there is no such WAN, or when only the other end has drained it.
  Result<> restore(const std::string& wan, const std::vector<model::WanStatus>& wans);

  // The file may have been read again, the peer may have told something, WANs have gone or come. True if the
  // sets below are others than before. `wans` as the backend measures them.
  bool update(const model::Config& config, const problems::PeerSettings* theirs,
              const std::vector<model::WanStatus>& wans);

  // Only this WAN carries, at the word of this end or of the other one; empty: all as they are. Says nothing
  // while it is not heard. To be followed by update().
  void set_alone(const std::string& here, const std::string& there);

  // Drained here: what the other end is told.
  [[nodiscard]] const std::set<std::string>& here() const { return here_; }
  // Out of use now: drained here, or at either end. Empty while no other WAN is heard.
  [[nodiscard]] const std::set<std::string>& out_of_use_here() const { return now_here_; }
  [[nodiscard]] const std::set<std::string>& out_of_use() const { return now_; }
  // The one WAN in use, where a speed test measures it; else empty.
  [[nodiscard]] const std::string& alone() const { return alone_; }

  // The state of each WAN that is out of use, and why; of one that is not heard its own state stays.
  void explain(const std::string& site, std::vector<model::WanStatus>& wans) const;

 private:
  std::set<std::string> here_, there_;
  std::set<std::string> now_here_, now_;
  std::string alone_here_, alone_there_, alone_;  // wished, wished by the other end, now
};

}  // namespace bondd::control
