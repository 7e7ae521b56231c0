// An in-memory kernel behind the Rtnl seam, with the rules that bite on a real one:
// a route needs its device up and its gateway on a connected network, a device
// that goes takes its addresses and routes along, a device set down loses its routes,
// a tap must be down to be enslaved. For tests of planning and control.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "netlink/rtnl.h"

namespace bondd::testing {

class FakeKernel final : public netlink::Rtnl {
 public:
  // Starts with lo, up.
  FakeKernel();

  Result<netlink::Snapshot> snapshot() override;
  Result<> add_link(const netlink::Link& link) override;
  Result<> set_link(const netlink::Link& link) override;
  Result<> delete_link(const std::string& name) override;
  Result<> add_address(const netlink::Address& address) override;
  Result<> delete_address(const netlink::Address& address) override;
  Result<> add_route(const netlink::Route& route) override;
  Result<> delete_route(const netlink::Route& route) override;
  Result<> add_rule(const netlink::Rule& rule) override;
  Result<> delete_rule(const netlink::Rule& rule) override;

  // --- what the test does, as the machine's admin or as fate; never fails by the modes below ---

  // An Ethernet device that nobody in the test made: up, with these addresses ("192.168.1.252/24").
  void add_device(const std::string& name, const std::vector<std::string>& addresses = {});
  // The state itself, to set up and to look at; the kernel's own rules are not checked.
  netlink::Snapshot& state() { return state_; }

  // --- modes ---

  // Every change fails with EPERM while on. Reading works.
  void deny(bool on) { denied_ = on; }
  // The nth change from now (1: the next one) fails with `code`, those after it work.
  void fail_at(std::size_t n, int code = 5 /* EIO */);
  // Changes from the nth on fail (1: the next one) until recover(): as if bondd were killed there.
  void crash_at(std::size_t n);
  void recover();

  // Changes asked for so far, failed ones too: "add_route 0.0.0.0/0 table 5200 dev bond0".
  [[nodiscard]] const std::vector<std::string>& calls() const { return calls_; }
  void clear_calls() { calls_.clear(); }

 private:
  static constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

  Result<> enter(std::string call);
  netlink::Link* find_link(const std::string& name);
  Result<> change_bond(netlink::Link& link, const netlink::BondOptions& options);
  Result<> change_master(netlink::Link& link, const std::string& master);
  void after_release(const std::string& master);
  void change_up(netlink::Link& link, bool up);
  void add_connected_route(const netlink::Address& address);
  void drop_routes(const std::string& device, bool ipv4, bool ipv6);
  bool reachable(const netlink::Route& route) const;
  Result<> check_route(const netlink::Route& route);

  netlink::Snapshot state_;
  int next_index_ = 1;
  bool denied_ = false;
  std::size_t changes_ = 0;
  std::size_t fail_at_ = kNever, crash_at_ = kNever;
  int fail_code_ = 0;
  std::vector<std::string> calls_;
};

}  // namespace bondd::testing
