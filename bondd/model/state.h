// What a plan is made of: the facts it starts from, the state it wants, what is
// there of ours, and the steps between the two. Plain values, no behaviour.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "bondd/base/ip.h"
#include "netlink/rtnl.h"
#include "netlink/values.h"
#include "rules/firewall.h"

namespace bondd::model {

// What the machine has, as far as a plan depends on it.
struct Facts {
  unsigned slot = 0;                              // of this site, see ownership.h
  netlink::Snapshot network;                      // links, addresses, routes, rules as they are
  std::map<std::string, std::string> sysctls;     // current value by key: "net.ipv4.ip_forward"
  std::vector<IpAddress> server_addresses;        // server.address resolved, in order of preference
  std::map<std::string, IpAddress> server_of;     // by WAN of an office; those not in it use the first
  std::optional<std::uint32_t> unprivileged_uid;  // openvpn's user, owner of the taps
  std::string unprivileged_user, unprivileged_group;
  std::vector<rules::MarkUse> mark_uses;  // of others
  int openvpn_minor = 6;                  // 2.5, 2.6, 2.7: the number after "2."
  std::filesystem::path run_dir;          // /run/bondd/SITE
  std::filesystem::path openvpn;          // the program, absolute
  std::set<std::string> dead;             // tunnels (tap names) that do not carry now; all others may
  std::map<std::string, std::uint32_t>
      path_mtu;             // by WAN: the longest IP packet that passes, where longer ones get lost
  unsigned direct_wan = 0;  // number of the WAN by which new connections leave past the bond; 0: by the bond
  unsigned clock_wan = 0;   // number of the WAN by which this machine's NTP leaves; 0: as all else
  std::uint16_t speed_test_port = 0;  // TCP, where the other end's speed test is answered; 0: none runs
};

// What a site is without a setting, where it cannot be set.
enum class Need : std::uint8_t {
  kMust,    // dead
  kShould,  // open to what a gateway or a neighbour may do to it
  kMay,     // as good
};

// A sysctl and the value it shall have. Never lowered protection: only what forwarding needs.
struct Sysctl {
  std::string key;  // with dots; a device's dots are slashes, as in sysctl(8)
  std::string value;
  Need need = Need::kMust;
  auto operator<=>(const Sysctl&) const = default;
};

// A wanted setting that has another value and cannot be changed on this machine.
struct FixedSysctl {
  Sysctl wanted;
  std::string now;
  auto operator<=>(const FixedSysctl&) const = default;
};

// A file that a process needs, under run_dir, written before it starts.
struct File {
  std::filesystem::path path;
  std::string content;  // never logged
  std::uint32_t mode = 0600;
  auto operator<=>(const File&) const = default;
};

// A supervised program. A changed Process is stopped and started again.
struct Process {
  std::string id;                 // "openvpn-ovh-1", unique in the site
  std::string wan;                // whose trouble it is when it dies
  std::vector<std::string> argv;  // argv[0] absolute; never a secret
  std::vector<File> files;
  std::filesystem::path management_socket;  // openvpn's --management unix socket, empty: none
  std::string tunnel;                       // the tap it carries
  auto operator<=>(const Process&) const = default;
};

struct DesiredState {
  std::vector<Sysctl> sysctls;
  rules::Firewall firewall;
  std::vector<netlink::Link> links;    // bond first, then taps in the order of enslaving
  std::vector<Sysctl> device_sysctls;  // of these links
  std::vector<netlink::Address> addresses;
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;
  std::vector<Process> processes;

  auto operator<=>(const DesiredState&) const = default;
};

// What is there and ours, found by tag. Sysctls: the value written down before the
// first change, by key. Processes: ids of those that run, with what they were started from.
struct Owned {
  std::map<std::string, std::string> saved_sysctls;
  std::map<std::string, std::string> current_sysctls;
  std::vector<FixedSysctl> fixed_sysctls;  // nothing is done about them
  rules::Firewall firewall;
  std::vector<netlink::Link> links;
  std::vector<netlink::Address> addresses;
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;
  std::vector<Process> processes;
};

// One change. The order within a plan is the order of execution.
struct SetSysctl {
  Sysctl sysctl;
  std::string saved;
  auto operator<=>(const SetSysctl&) const = default;
};
struct RestoreSysctl {
  Sysctl sysctl;
  auto operator<=>(const RestoreSysctl&) const = default;
};
// Of a device of our own: it goes with the device, so nothing is written down.
struct SetDeviceSysctl {
  Sysctl sysctl;
  auto operator<=>(const SetDeviceSysctl&) const = default;
};
struct InstallFirewall {
  rules::Firewall firewall;
  auto operator<=>(const InstallFirewall&) const = default;
};
struct RemoveFirewall {
  rules::Firewall firewall;
  auto operator<=>(const RemoveFirewall&) const = default;
};
struct AddLink {
  netlink::Link link;
  auto operator<=>(const AddLink&) const = default;
};
struct SetLink {
  netlink::Link link;
  auto operator<=>(const SetLink&) const = default;
};
struct DeleteLink {
  std::string name;
  auto operator<=>(const DeleteLink&) const = default;
};
struct AddAddress {
  netlink::Address address;
  auto operator<=>(const AddAddress&) const = default;
};
struct DeleteAddress {
  netlink::Address address;
  auto operator<=>(const DeleteAddress&) const = default;
};
struct AddRoute {
  netlink::Route route;
  auto operator<=>(const AddRoute&) const = default;
};
struct DeleteRoute {
  netlink::Route route;
  auto operator<=>(const DeleteRoute&) const = default;
};
struct AddRule {
  netlink::Rule rule;
  auto operator<=>(const AddRule&) const = default;
};
struct DeleteRule {
  netlink::Rule rule;
  auto operator<=>(const DeleteRule&) const = default;
};
struct StartProcess {
  Process process;
  auto operator<=>(const StartProcess&) const = default;
};
struct StopProcess {
  std::string id;
  auto operator<=>(const StopProcess&) const = default;
};

using Step = std::variant<SetSysctl, RestoreSysctl, SetDeviceSysctl, InstallFirewall, RemoveFirewall, AddLink,
                          SetLink, DeleteLink, AddAddress, DeleteAddress, AddRoute, DeleteRoute, AddRule,
                          DeleteRule, StartProcess, StopProcess>;

}  // namespace bondd::model
