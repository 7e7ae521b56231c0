// How a bond is built, as far as the daemon must know while it runs: which tunnels
// carry, and what to say of each WAN. What a backend wants of the kernel stands in the plan.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/control/drained_wans.h"
#include "bondd/control/event_loop.h"
#include "bondd/control/log.h"
#include "bondd/control/process_table.h"
#include "bondd/model/config.h"
#include "bondd/model/status.h"
#include "bondd/plan/plan.h"
#include "netlink/rtnl.h"

namespace bondd::control {

// What a pass ended with.
struct Followed {
  const model::Config& config;
  const plan::Plan& plan;
  const netlink::Snapshot& network;  // as the pass found it
  const std::vector<IpAddress>& server_addresses;
  const std::map<std::string, IpAddress>& server_of;  // by WAN; on an office, once the name is known
  unsigned slot;
  const DrainedWans& drained;
};

class Backend : public ProcessTable {
 public:
  // After every pass: the backend adapts its probes, or its engine, to what the site is now. An error is
  // logged by the daemon, and follow() comes again.
  virtual Result<> follow(const Followed& now) = 0;
  // The site's file was read again as `config`; keys or passwords beside it may be others. The pass that
  // follows starts what changed. Returns what the admin should know of it; may be empty.
  virtual std::string reloaded(const model::Config& config) = 0;

  // Taps that belong out of the bond, for Facts::dead.
  [[nodiscard]] virtual std::set<std::string> dead() const = 0;
  // One per WAN of the file, in its order. `network` has the counters.
  [[nodiscard]] virtual std::vector<model::WanStatus> wans(const netlink::Snapshot& network) const = 0;

  // Why nothing can be carried at all, such as a program that does not start; empty: nothing of that kind.
  [[nodiscard]] virtual std::string error() const = 0;
  // By WAN: packets come that this end's password or key does not open, in words.
  [[nodiscard]] virtual std::map<std::string, std::string> wrong_secrets() const = 0;
  // By WAN: the other end has the secret, and is refused for being less than it was, in words.
  [[nodiscard]] virtual std::map<std::string, std::string> refused_peers() const { return {}; }
  // By WAN, on a server: where the office's packets come from now, as far as that is known.
  [[nodiscard]] virtual std::map<std::string, IpAddress> peers() const = 0;
  // Over the tunnels, between the two daemons: a text of at most 1200 bytes, and the last one that came.
  virtual void tell_peer(const std::string& text) = 0;
  [[nodiscard]] virtual std::optional<std::string> peer_told() const = 0;

  // Ends all that runs. Afterwards idle() turns true within a few seconds of the loop.
  virtual void shut_down() = 0;
  [[nodiscard]] virtual bool idle() const = 0;
};

// What a backend gets from the daemon.
struct BackendContext {
  EventLoop* loop = nullptr;
  Log* log = nullptr;
  std::filesystem::path run_dir, state_dir;
  std::string user;  // to run unprivileged programs as; may be empty
  std::function<void()>
      changed;  // to be called, on the loop, whenever dead() or a WAN's state may be another
  std::function<void()> resolve;  // the server does not answer: look its name up again
};

Result<std::unique_ptr<Backend>> make_openvpn_backend(const model::Config& config, BackendContext context);
// Fails when bondd-engine is not installed.
Result<std::unique_ptr<Backend>> make_mlvpn_backend(const model::Config& config, BackendContext context);

}  // namespace bondd::control
