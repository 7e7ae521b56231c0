// What `bondd init` and `bondd join` find on this machine, and say of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/setup/agreement.h"
#include "bondd/setup/discover.h"
#include "bondd/setup/render.h"
#include "netlink/rtnl.h"

namespace bondd {

// The lines of this office: those that `wans` names (--wan), or all that are found. Each Ethernet line is
// tested towards `server`. Says what it found. Fails when there is none.
Result<std::vector<setup::FoundExit>> find_lines(const netlink::Snapshot& machine,
                                                 const std::vector<std::string>& wans,
                                                 const std::string& server);

// Tests each Ethernet line of `exits` towards `server`, of which none is added. Says why one is not tested.
// Blocks for about 2 s a device.
void test_exits(std::vector<setup::FoundExit>& exits, const netlink::Snapshot& machine,
                const std::string& server);
// "reaches the Internet", or what is wrong with it.
std::string state_in_words(setup::FoundExit::State state);

// The device of the default route. Fails when there is none.
Result<std::string> internet_device(const netlink::Snapshot& machine);

// IPv4 networks as --lan and --bond take them.
Result<std::vector<IpPrefix>> parse_networks(const std::vector<std::string>& texts);

Result<> check_site_name(const std::string& name);

// New files would be another bond than the one that runs; its interface and ports are taken by itself.
Result<> check_not_running(const std::filesystem::path& run_root, const std::string& name);

// Checks the site's file, the last of `files`, as `bondd check` would once they are in `directory`; says what
// it finds. Fails when there is an error in it.
Result<> check_new_files(const std::filesystem::path& directory, const std::vector<setup::NewFile>& files);

std::string list_ports(const setup::Agreement& agreement);
// "/etc/bondd/office.toml, /etc/bondd/office.password"
std::string list_files(const std::filesystem::path& directory, const std::vector<setup::NewFile>& files);
// How the site is started: by systemd where its unit is installed, else by hand.
std::vector<std::string> start_command(const std::filesystem::path& directory, const std::string& site);

}  // namespace bondd
