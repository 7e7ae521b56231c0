// Making and changing bonds, taps and tuns.
//
// Traps on the way, all met in practice:
// * The alias cannot be given with RTM_NEWLINK's creation. A tap stays temporary until it has
//   its alias; a bond is created in a group that stands for it, see is_half_made().
// * Loading the bonding module makes a "bond0" of its own, so that the first creation of a bond of
//   that name fails with EEXIST, and any other leaves a bond0 behind.
// * A device must be down to be enslaved, and comes up with it; releasing sets it down.
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <cerrno>

#include "netlink/kernel_rtnl.h"
#include "netlink/tuntap.h"

namespace bondd::netlink {
namespace {

constexpr const char* kModuleBond = "bond0";

std::string_view kind_name(LinkKind kind) {
  switch (kind) {
    case LinkKind::kBond:
      return "bond";
    case LinkKind::kTap:
      return "tap";
    case LinkKind::kTun:
      return "tun";
    case LinkKind::kOther:
      break;
  }
  return "device";
}

Result<> in_context(Result<> result, const Link& link) {
  if (result) return result;
  return tl::make_unexpected(result.error().in(fmt::format("{} {}", kind_name(link.kind), link.name)));
}

template <typename T>
tl::unexpected<Error> passed_on(const Result<T>& failed) {
  return tl::make_unexpected(failed.error());
}

// A bond as the module makes one, that nobody has done anything with yet.
bool is_untouched_bond(const KernelLink& there) {
  return there.link.kind == LinkKind::kBond && there.link.alias.empty() && there.link.group == 0 &&
         !there.link.up;
}

bool bonding_is_loaded() {
  return ::access("/sys/module/bonding", F_OK) == 0;
}

}  // namespace

// Success for a link of this kind and alias, and for a bond that we were making when killed.
Result<> KernelRtnl::check_is_ours(const Link& wanted, const KernelLink& there) {
  if (there.link.kind == wanted.kind && there.link.alias == wanted.alias) return {};
  if (wanted.kind == LinkKind::kBond && is_half_made(there.link, wanted.alias))
    return change_properties(wanted, there);
  std::string text = "a device of this name is there already and not made by bondd";
  if (is_untouched_bond(there)) {
    text += fmt::format(
        "; if nobody uses it: ip link delete {} (loading the bonding module makes one, "
        "unless /etc/modprobe.d has: options bonding max_bonds=0)",
        wanted.name);
  }
  return failure(std::move(text), EEXIST);
}

Result<> KernelRtnl::add_link(const Link& link) {
  const auto there = find_link(link.name);
  if (!there) return in_context(passed_on(there), link);
  if (*there) return in_context(check_is_ours(link, **there), link);
  switch (link.kind) {
    case LinkKind::kBond:
      return in_context(create_bond(link), link);
    case LinkKind::kTap:
    case LinkKind::kTun:
      return in_context(create_tuntap_link(link), link);
    case LinkKind::kOther:
      break;
  }
  return in_context(failure("only bonds, taps and tuns can be made", EOPNOTSUPP), link);
}

Result<> KernelRtnl::send_new_bond(const Link& link) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header<ifinfomsg>();
  message.put_name(IFLA_IFNAME, link.name);
  put_link_changes(message, link, nullptr);
  message.put_u32(IFLA_GROUP, group_until_aliased(link.alias));
  put_bond(message, link.bond.value_or(BondOptions{}), nullptr);
  auto made = socket_.request(message);
  if (!made && (made.error().code == EOPNOTSUPP || made.error().code == ENODEV)) {
    return failure("this kernel has no bonding driver (modprobe bonding): " + made.error().message,
                   made.error().code);
  }
  return made;
}

// Deletes a bond if it is as the module made it.
Result<> KernelRtnl::drop_module_bond(const std::string& name) {
  const auto there = find_link(name);
  if (!there) return passed_on(there);
  if (!*there || !is_untouched_bond(**there)) return {};
  return delete_link(name);
}

Result<> KernelRtnl::create_bond(const Link& link) {
  const bool was_loaded = bonding_is_loaded();
  auto made = send_new_bond(link);
  if (!made && made.error().code == EEXIST && !was_loaded) {  // made by the module just now
    if (auto dropped = drop_module_bond(link.name); !dropped) return dropped;
    made = send_new_bond(link);
  }
  if (!made) return made;
  if (!was_loaded && link.name != kModuleBond) {
    if (auto dropped = drop_module_bond(kModuleBond); !dropped) return dropped;
  }
  const auto there = find_link(link.name);
  auto changed = there && *there ? change_properties(link, **there) : failure("vanished", ENODEV);
  if (!changed) static_cast<void>(delete_link(link.name));  // all or nothing; the first error counts
  return changed;
}

Result<> KernelRtnl::create_tuntap_link(const Link& link) {
  const auto device = create_tuntap(link);  // goes with the descriptor until it is persistent
  if (!device) return passed_on(device);
  const auto there = find_link(link.name);
  if (!there) return passed_on(there);
  if (!*there) return failure("vanished", ENODEV);
  if (auto changed = change_properties(link, **there); !changed) return changed;
  return make_persistent(*device);
}

Result<> KernelRtnl::change_properties(const Link& wanted, const KernelLink& current) {
  Message message(RTM_NEWLINK, 0);
  message.header<ifinfomsg>().ifi_index = current.facts.index;
  if (!put_link_changes(message, wanted, &current.link)) return {};
  return socket_.request(message);
}

Result<> KernelRtnl::change_bond(const Link& wanted, const KernelLink& current) {
  if (!wanted.bond || !current.link.bond || wanted.bond == current.link.bond) return {};
  Message message(RTM_NEWLINK, 0);
  message.header<ifinfomsg>().ifi_index = current.facts.index;
  put_bond(message, *wanted.bond, &*current.link.bond);
  return socket_.request(message);
}

Result<> KernelRtnl::set_master(int index, int master) {
  Message message(RTM_NEWLINK, 0);
  message.header<ifinfomsg>().ifi_index = index;
  message.put_u32(IFLA_MASTER, static_cast<std::uint32_t>(master));
  return socket_.request(message);
}

Result<> KernelRtnl::set_up(int index, bool up) {
  Message message(RTM_NEWLINK, 0);
  auto& header = message.header<ifinfomsg>();
  header.ifi_index = index;
  header.ifi_change = IFF_UP;
  header.ifi_flags = up ? IFF_UP : 0;
  return socket_.request(message);
}

Result<> KernelRtnl::change_master(const Link& wanted, const KernelLink& current) {
  if (wanted.master == current.link.master) return {};
  const int index = current.facts.index;
  if (current.master_index != 0) {
    if (auto released = set_master(index, 0); !released) return released;
  }
  if (wanted.master.empty()) return {};
  const auto master = index_of(wanted.master);
  if (!master) return passed_on(master);
  if (auto down = set_up(index, false); !down) return down;
  auto enslaved = set_master(index, *master);
  if (enslaved) return {};
  return tl::make_unexpected(enslaved.error().in("enslaving to " + wanted.master));
}

Result<> KernelRtnl::set_link(const Link& wanted) {
  const auto current = find_link(wanted.name);
  if (!current) return in_context(passed_on(current), wanted);
  if (!*current) return in_context(failure("there is no such device", ENODEV), wanted);
  if (auto done = change_bond(wanted, **current); !done) return in_context(done, wanted);
  // Released first, so that a MAC address can be set, and enslaved first, so that the bond's MTU does not
  // undo ours.
  if (auto done = change_master(wanted, **current); !done) return in_context(done, wanted);
  const auto enslaved = find_link(wanted.name);
  if (!enslaved || !*enslaved) return in_context(failure("vanished", ENODEV), wanted);
  const KernelLink& now = **enslaved;
  if (auto done = change_properties(wanted, now); !done) return in_context(done, wanted);
  const bool new_owner = wanted.owner_uid && wanted.owner_uid != now.link.owner_uid &&
                         (now.link.kind == LinkKind::kTap || now.link.kind == LinkKind::kTun);
  if (new_owner) {
    if (auto done = change_owner(wanted); !done) return in_context(done, wanted);
  }
  if (now.link.up == wanted.up) return {};
  return in_context(set_up(now.facts.index, wanted.up), wanted);
}

Result<> KernelRtnl::delete_link(const std::string& name) {
  const auto there = find_link(name);
  if (!there) return tl::make_unexpected(there.error().in(name));
  if (!*there) return {};
  Message message(RTM_DELLINK, 0);
  message.header<ifinfomsg>().ifi_index = (*there)->facts.index;
  auto deleted = socket_.request(message);
  if (deleted || deleted.error().code == ENODEV) return {};
  return tl::make_unexpected(deleted.error().in("deleting " + name));
}

}  // namespace bondd::netlink
