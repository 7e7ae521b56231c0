// Rtnl on the running kernel. Only for this directory's .cc files.
#pragma once

#include "netlink/codec.h"
#include "netlink/socket.h"

namespace bondd::netlink {

class KernelRtnl final : public Rtnl {
 public:
  explicit KernelRtnl(Socket socket) : socket_(std::move(socket)) {}

  Result<Snapshot> snapshot() override;
  Result<> add_link(const Link& link) override;
  Result<> set_link(const Link& link) override;
  Result<> delete_link(const std::string& name) override;
  Result<> add_address(const Address& address) override;
  Result<> delete_address(const Address& address) override;
  Result<> add_route(const Route& route) override;
  Result<> delete_route(const Route& route) override;
  Result<> add_rule(const Rule& rule) override;
  Result<> delete_rule(const Rule& rule) override;

 private:
  // kernel_rtnl.cc
  Result<std::vector<KernelLink>> read_links();
  Result<std::vector<Address>> read_addresses(const DeviceNames& names);
  Result<std::vector<Route>> read_routes(const DeviceNames& names);
  NextHops read_next_hops();
  Result<std::vector<Rule>> read_rules();
  Result<std::vector<Neighbour>> read_neighbours(const DeviceNames& names);
  Result<std::optional<KernelLink>> find_link(const std::string& name);
  Result<std::optional<KernelLink>> find_link(int index);
  Result<std::optional<KernelLink>> find_link(Message& message);
  Result<int> index_of(const std::string& device);
  Result<DeviceNames> device_names();
  Result<bool> has_address(const Address& address);
  Result<bool> has_route(const Route& route);
  Result<bool> has_rule(const Rule& rule);

  // kernel_link.cc
  Result<> check_is_ours(const Link& wanted, const KernelLink& there);
  Result<> create_bond(const Link& link);
  Result<> send_new_bond(const Link& link);
  Result<> drop_module_bond(const std::string& name);
  Result<> create_tuntap_link(const Link& link);
  Result<> change_properties(const Link& wanted, const KernelLink& current);
  Result<> change_bond(const Link& wanted, const KernelLink& current);
  Result<> change_master(const Link& wanted, const KernelLink& current);
  Result<> set_master(int index, int master);
  Result<> set_up(int index, bool up);

  Socket socket_;
};

}  // namespace bondd::netlink
