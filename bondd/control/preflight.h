// What `up` makes sure of before it touches anything. Every finding says what is
// wrong and what to do about it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/control/executor.h"
#include "bondd/control/observer.h"
#include "bondd/control/pass.h"
#include "bondd/model/config.h"

namespace bondd::control {

// Rights, devices, modules and programs. May load the modules `bonding` and `tun`, as the kernel itself
// would, but without the bond0 that bonding makes by default.
std::vector<Error> check_system(const model::Config& config, const Programs& programs);

// Names, addresses and ports that somebody else has, firewall extensions that are missing, and settings that
// cannot be made. `running`: what the site itself runs with now, whose ports are its own; null: it does not
// run.
std::vector<Error> check_conflicts(const model::Config& config, const Prepared& prepared,
                                   rules::Iptables& iptables, const model::Config* running = nullptr);

// Sends an empty datagram to each gateway that the file names, so that the kernel asks for its hardware
// address now: the first plan then knows which gateway a packet came by (several on one LAN), and the
// firewall is not written once more for each address that is learned later. Errors do not matter.
void ask_gateways(const model::Config& config);

// Why a UDP socket cannot have that port of `address` (empty: of all) now, as errno; 0 when it can.
int try_udp_port(const std::string& address, std::uint16_t port);

// CAP_NET_ADMIN and CAP_NET_RAW in this process' effective set.
bool has_network_rights();

}  // namespace bondd::control
