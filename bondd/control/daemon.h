// A running site. Events only say "look again": the kernel's changes wait for one pass
// per kDirtyDebounce, a tunnel that dies or comes back does not wait at all.
//
//   netlink change --(250 ms)--+
//   firewall change -----------+    (at most every 500 ms)
//   every 10 s, SIGHUP --------+--> pass: observe, plan, diff, execute --> backend follows
//   tunnel dead or alive ------+ at once, without the firewall
//   a step failed --(1 s, 2 s, … 30 s)
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/control/backend.h"
#include "bondd/control/control_server.h"
#include "bondd/control/diagnosis.h"
#include "bondd/control/event_loop.h"
#include "bondd/control/log.h"
#include "bondd/control/past_bond.h"
#include "bondd/control/peer_ping.h"
#include "bondd/control/reconciler.h"
#include "bondd/control/resolver.h"
#include "bondd/control/server_choice.h"
#include "bondd/control/site_hooks.h"
#include "bondd/control/speed_test.h"
#include "bondd/control/wan_traffic.h"
#include "bondd/control/web_process.h"
#include "bondd/model/status.h"
#include "rules/firewall_monitor.h"

namespace bondd::control {

constexpr auto kDirtyDebounce = std::chrono::milliseconds(250);  // one repair per batch of foreign changes
constexpr auto kFullPassEvery = std::chrono::seconds(10);        // whatever no event told of
// A flushed firewall of the admin's, under policy DROP, stops all traffic: it is put right within a second.
// Looking costs some programs' starts, so programs that change rules all the time are not followed closer
// than this.
constexpr auto kFirewallLookEvery = std::chrono::milliseconds(500);
constexpr auto kLegacyPoll = std::chrono::milliseconds(300);  // iptables-legacy tells nobody of a flush

// A site's file as it was read again.
struct FileNow {
  model::Config config;
  std::vector<std::string> warnings;
  std::string text;
};

struct DaemonOptions {
  model::Config config;
  std::string file_text;                                     // of config.file, as it was read
  std::vector<std::string> file_warnings, machine_warnings;  // for the status
  std::filesystem::path state_dir;                           // what is to be known after a restart
  unsigned slot = 0;
  Programs programs;
  std::string version;  // for the status
  Duration timeout{};   // to the first traffic; 0: for ever
  // A server has nothing to wait for but the office: it is ready when it listens.
  bool ready_when_listening = false;
  bool has_terminal = false;                   // SIGHUP tells that it was closed; else it asks for a reload
  rules::FirewallMonitor* firewall = nullptr;  // borrowed; null: the firewall is looked at every 10 s
  std::function<void()> on_set_up;  // once: everything is in place, whether or not the peer answers
  std::function<void()> on_ready;   // once: traffic flows
  // Reads a file again; the error is all that is wrong with it, one line each.
  std::function<Result<FileNow>(const std::filesystem::path&)> load;
};

class Daemon {
 public:
  // All borrowed. `machine.processes` is filled in here.
  Daemon(EventLoop& loop, Log& log, const Machine& machine, netlink::Monitor& monitor, DaemonOptions options);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Runs the site until it is told to stop, and takes everything down. 0, or 1 when the site
  // did not come up in time or something of it could not be removed.
  int run();
  // For callbacks of the loop: run() takes everything down and returns.
  void stop(const std::string& why);
  // Nothing of the site is left; false if something could not be removed.
  [[nodiscard]] bool removed() const { return removed_; }

 private:
  Result<> start();
  Result<> make_backend();
  void on_signal(int signal);
  ipc::Reply on_request(const ipc::Request& request, std::uint64_t connection);
  ipc::Reply reload(const std::string& file, Duration confirm_within);
  std::string why_not_reloaded(const model::Config& config);
  [[nodiscard]] std::string office_inside(const model::Config& config) const;
  std::string apply_file(FileNow file);
  ipc::Reply planned(const std::string& file);
  ipc::Reply confirm();
  void revert();
  void put_file_back();
  ipc::Reply drain_or_restore(const ipc::Request& request);
  bool follow_drained(const std::vector<model::WanStatus>& measured);
  ipc::Reply speed_test(const ipc::Request& request, std::uint64_t connection);
  void speed_test_closed(std::uint64_t connection);
  void follow_speed_test();
  void follow_speed_test_guest(const problems::PeerSettings* told);
  ipc::Reply monitor();
  [[nodiscard]] model::SiteStatus watched() const;
  void tell_changes();
  [[nodiscard]] std::uint32_t bond_mtu() const;
  void tell(const model::Event& event);
  void tell_event(const char* event, const char* to, const std::string& reason);

  void resolve_server();
  [[nodiscard]] Resolver::Answer usable(const std::vector<IpAddress>& addresses) const;
  [[nodiscard]] Resolver::Lookup lookup_past_the_bond() const;
  void on_resolved(Result<std::vector<IpAddress>> addresses);
  void use_servers();
  void try_other_addresses(const std::vector<model::WanStatus>& wans);
  void lead_past_bond(bool carries);
  void on_backend_changed();

  void look_for_blocked_ways();
  void look_for_foreign();
  void warn_of(std::vector<problems::Remark>& known, std::vector<problems::Remark> now);
  void watch_firewall();
  void poll_legacy_firewall();
  void look_at_firewall();
  void forget_firewall_changes();
  static bool changes_firewall(const Pass& pass);
  void request_pass(Depth depth, Duration delay);
  enum class Cause : std::uint8_t { kOwn, kLook };
  void run_pass(Depth depth, Cause cause);
  void report_pass(const Pass& pass, Cause cause, Duration took);
  void report_errors(const std::vector<Error>& errors);
  void tick();

  [[nodiscard]] std::optional<problems::PeerSettings> theirs() const;
  // Of the site with these WANs: no better than the bond's own interface and what leads into it.
  [[nodiscard]] model::SiteState state_of(const std::vector<model::WanStatus>& wans) const;
  // As the backend has them, or what keeps them from beginning.
  [[nodiscard]] std::vector<model::WanStatus> measured_wans(const netlink::Snapshot& network) const;
  // The same with what was found to be wrong.
  [[nodiscard]] std::vector<model::WanStatus> explained(std::vector<model::WanStatus> measured) const;
  [[nodiscard]] std::vector<model::WanStatus> wans(const netlink::Snapshot& network) const {
    return explained(measured_wans(network));
  }
  // What was found beside the WANs' ways: of the file, of unlike lines, of others' rules and firewalls.
  [[nodiscard]] std::vector<problems::Remark> remarks(const model::SiteStatus& measured) const;
  [[nodiscard]] SiteNow site_now(std::vector<model::WanStatus> measured) const;
  void diagnose() { diagnose(measured_wans({})); }
  void diagnose(const std::vector<model::WanStatus>& measured);
  void follow_path_mtu(const std::vector<model::WanStatus>& wans);
  [[nodiscard]] model::SiteStatus status() const;
  void tell_page();
  void measure_traffic();
  void report_wans(const std::vector<model::WanStatus>& now);
  void check_ready();
  void set_up();
  void become_ready();
  void hand_over(TimePoint latest);
  void give_up();
  void take_down();

  EventLoop& loop_;
  Log& log_;
  Machine machine_;
  netlink::Monitor& monitor_;
  DaemonOptions options_;
  std::unique_ptr<Backend> backend_;
  std::optional<Reconciler> reconciler_;
  std::unique_ptr<ControlServer> server_;
  Resolver resolver_;
  std::unique_ptr<PeerPing> ping_;

  bool resolved_ = false;  // the server's address is known (always on the server)
  bool ready_ = false, stopping_ = false, brought_up_ = false, removed_ = false, change_pending_ = false;
  int exit_status_ = 0;
  std::string stop_reason_;
  std::optional<TimePoint> carries_since_;
  struct Since {
    model::WanState state = model::WanState::kStarting;
    std::int64_t since = 0;  // seconds since 1970
  };
  std::map<std::string, Since> wan_states_;
  WanTraffic traffic_;
  std::optional<Diagnosis> diagnosis_;
  model::SiteState site_state_ = model::SiteState::kDown;
  std::int64_t site_since_ = 0;  // seconds since 1970
  std::string last_error_, resolve_error_;
  bool bond_is_set_up_ = true;  // as of the last pass
  TimePoint repairs_since_;
  std::map<std::string, int> repairs_;  // by step, how often it was needed again
  std::vector<IpAddress> server_addresses_;
  ServerChoice servers_;
  PastBond clock_way_{kClockPatience, Duration(0)};
  PastBond direct_way_{model::Failover{}.after, kBondIsBack};
  std::map<std::string, std::uint32_t> path_mtu_;  // of the WANs that lose long packets
  unsigned direct_wan_ = 0;  // by which new connections leave past the bond; 0: by the bond
  DrainedWans drained_;
  SiteHooks hooks_;
  SpeedTests speed_tests_;
  WebProcess web_;
  std::optional<model::SiteStatus> watched_;  // what the listeners were told last; nothing without any
  // A reload that waits for kConfirm: what comes back without it, until when, and how to undo it.
  struct Unconfirmed {
    FileNow before;
    std::string until;  // local time, for people
    Registration timer;
  };
  std::optional<Unconfirmed> unconfirmed_;
  std::string not_confirmed_;  // why there is nothing to confirm, if there was

  // The next pass of each depth; a full one does for both.
  struct Due {
    std::optional<TimePoint> when;
    Registration timer;
  };
  Due full_, network_;
  Duration retry_{};
  std::vector<problems::Remark> foreign_;  // see plan::foreign_notes()
  std::vector<problems::Remark> blocked_;  // what others' firewall rules refuse of the site's packets
  TimePoint last_full_pass_;
  Registration firewall_watch_, legacy_timer_;
  Registration monitor_watch_, tick_timer_, timeout_timer_, ready_timer_, resolve_timer_;
};

}  // namespace bondd::control
