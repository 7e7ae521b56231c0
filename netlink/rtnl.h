// The kernel's network state behind one seam: read it all, change one thing.
// make_rtnl() talks to the kernel (libmnl);
// tests/support has an in-memory kernel with the same rules.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "netlink/values.h"

namespace bondd::netlink {

// Everything as it is now. IPv4 and IPv6; routes of all tables, without the
// kernel's own local table and cache.
struct Snapshot {
  std::vector<Link> links;
  std::map<std::string, LinkFacts> facts;  // by link name
  std::vector<Address> addresses;
  std::vector<Route> routes;
  std::vector<Rule> rules;
  std::vector<Neighbour> neighbours;
};

// Every call blocks for its kernel round trips. Errors carry the kernel's
// extended-ack text. Adding what is there (EEXIST) and deleting what is not
// (ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL) is success. EPERM without CAP_NET_ADMIN.
class Rtnl {
 public:
  virtual ~Rtnl() = default;

  // Interrupted dumps (NLM_F_DUMP_INTR) are repeated, at most 10 times.
  virtual Result<Snapshot> snapshot() = 0;

  // Creates a bond (down, without slaves) or a persistent tap or tun owned by
  // link.owner_uid, with alias, MAC, MTU, queue length, GSO limit as given. Does not set it up
  // and does not enslave it: see set_link. All or nothing. A device of that name is
  // success if it has this kind and alias, else EEXIST: it is somebody else's.
  // A bond with a MAC keeps that whatever slaves come; when the last one leaves, the
  // kernel gives it a random one, and set_link puts it back.
  virtual Result<> add_link(const Link& link) = 0;
  // Changes an existing link of that name to `link`: alias, MAC, MTU, queue length, GSO
  // limit, master, up or down. Does the kernel's dance (a slave is down while it is
  // enslaved, and up again after). Bond options only while the bond is down or
  // where the kernel allows it. An empty optional leaves the property as it is.
  virtual Result<> set_link(const Link& link) = 0;
  virtual Result<> delete_link(const std::string& name) = 0;

  virtual Result<> add_address(const Address& address) = 0;
  virtual Result<> delete_address(const Address& address) = 0;
  // Goes before a route of others to the same destination with the same metric (IPv4), so
  // that theirs holds again after delete_route. IPv6: EEXIST if there is another one.
  virtual Result<> add_route(const Route& route) = 0;
  // Deletes this one with this protocol only, never a twin with another. EINVAL for
  // protocol 0, which the kernel takes for "any"; delete_rule alike.
  virtual Result<> delete_route(const Route& route) = 0;
  // EINVAL for a rule that is not plain(); delete_rule alike.
  virtual Result<> add_rule(const Rule& rule) = 0;
  virtual Result<> delete_rule(const Rule& rule) = 0;
};

// Never fails for lack of privileges: reading works without.
Result<std::unique_ptr<Rtnl>> make_rtnl();

// Tells when the kernel's links, addresses, routes or rules change (RTNLGRP_*). The
// content is not passed on: look again. ENOBUFS counts as a change.
class Monitor {
 public:
  virtual ~Monitor() = default;
  [[nodiscard]] virtual int fd() const = 0;  // readable when something changed
  // Reads all that is queued; true if anything changed. Never blocks.
  virtual bool drain() = 0;
};
Result<std::unique_ptr<Monitor>> make_monitor();

}  // namespace bondd::netlink
