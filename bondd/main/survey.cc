#include "bondd/main/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bondd/base/secret.h"
#include "bondd/config/config.h"
#include "bondd/control/resolver.h"
#include "bondd/control/run_dir.h"
#include "bondd/main/site_file.h"
#include "bondd/setup/gateway_probe.h"
#include "bondd/setup/values.h"

namespace bondd {
namespace {

namespace fs = std::filesystem;
using setup::FoundExit;

std::vector<IpAddress> known_gateways(const std::vector<FoundExit>& exits, const std::string& device) {
  std::vector<IpAddress> known;
  for (const FoundExit& found : exits) {
    if (found.exit.device == device && found.exit.gateway) known.push_back(*found.exit.gateway);
  }
  return known;
}

std::optional<IpAddress> test_target(const std::string& server) {
  const auto addresses = control::resolve(server);
  if (!addresses) {
    say(fmt::format("warning: {}; the lines are not tested", addresses.error().message));
    return std::nullopt;
  }
  const auto v4 =
      std::find_if(addresses->begin(), addresses->end(), [](const IpAddress& a) { return a.is_v4(); });
  return v4 == addresses->end() ? std::nullopt : std::optional(*v4);
}

bool needs_no_gateway(const netlink::Snapshot& machine, const std::string& device) {
  const auto facts = machine.facts.find(device);
  return facts != machine.facts.end() && facts->second.point_to_point;
}

// A whole network is asked where more lines may be, or the gateway of one is not known.
void test_lines(std::vector<FoundExit>& exits, const netlink::Snapshot& machine, const IpAddress& target,
                bool look_for_more) {
  std::vector<std::string> devices;
  for (const FoundExit& found : exits) {
    const bool seen = std::find(devices.begin(), devices.end(), found.exit.device) != devices.end();
    const bool asked = found.exit.gateway || !needs_no_gateway(machine, found.exit.device);
    if (asked && !seen) devices.push_back(found.exit.device);
  }
  const std::size_t wanted = exits.size();
  for (const std::string& device : devices) {
    IpPrefix own = setup::device_network(machine, device);
    if (own.length == 0) continue;
    const bool all_known = std::none_of(exits.begin(), exits.end(), [&](const FoundExit& found) {
      return found.exit.device == device && !found.exit.gateway;
    });
    if (!look_for_more && all_known) own.length = 32;
    const auto heard = setup::probe_gateways(device, own, target, known_gateways(exits, device));
    if (!heard) {
      say(fmt::format("warning: {} is not tested: {}", device, heard.error().message));
      continue;
    }
    setup::add_gateways(exits, device, *heard);
  }
  // What was not asked for is not used: the lines were named.
  if (!look_for_more && exits.size() > wanted)
    std::erase_if(exits, [](const FoundExit& found) { return !found.is_named; });
}

void say_lines(const std::vector<FoundExit>& exits, const netlink::Snapshot& machine) {
  say("Lines to the Internet:");
  for (std::size_t i = 0; i < exits.size(); ++i) {
    const setup::Exit& exit = exits[i].exit;
    const std::string way =
        exit.gateway ? fmt::format("{} gateway {}", exit.device, to_string(*exit.gateway)) : exit.device;
    const bool unknown = !exit.gateway && !needs_no_gateway(machine, exit.device);
    say(fmt::format(
        "  wan{}: {}: {}", i + 1, way,
        unknown ? fmt::format("no gateway is found there; connect its modem, or write --wan {}=GATEWAY",
                              exit.device)
                : state_in_words(exits[i].state)));
  }
}

// A line given without its gateway has that of its device's default route.
std::optional<IpAddress> learned_gateway(const netlink::Snapshot& machine, const std::string& device) {
  for (const setup::Exit& exit : setup::find_exits(machine)) {
    if (exit.device == device) return exit.gateway;
  }
  return std::nullopt;
}

Result<std::vector<FoundExit>> given_lines(const netlink::Snapshot& machine,
                                           const std::vector<std::string>& wans) {
  std::vector<FoundExit> exits;
  for (const std::string& text : wans) {
    const auto exit = setup::parse_exit(text);
    if (!exit) return tl::make_unexpected(exit.error().in("--wan"));
    FoundExit found{*exit, FoundExit::State::kNotTested, exit->gateway.has_value(), true};
    if (!found.exit.gateway) found.exit.gateway = learned_gateway(machine, exit->device);
    exits.push_back(found);
  }
  return exits;
}

// This machine as it will be with the new files.
class MachineWithNewFiles final : public config::CheckContext {
 public:
  MachineWithNewFiles(const fs::path& directory, const std::vector<setup::NewFile>& files)
      : directory_(directory), files_(files), machine_(look_at_machine) {}
  [[nodiscard]] Result<FileFacts> stat(const fs::path& file) const override {
    const setup::NewFile* const found = find(file);
    if (found == nullptr) return machine_.stat(file);
    return FileFacts{true, 0600, found->content.size(), unsafe_path(file)};
  }
  [[nodiscard]] Result<std::string> read(const fs::path& file, std::size_t limit) const override {
    const setup::NewFile* const found = find(file);
    if (found == nullptr) return machine_.read(file, limit);
    return found->content.substr(0, limit);
  }
  [[nodiscard]] std::optional<netlink::Snapshot> network() const override { return machine_.network(); }
  [[nodiscard]] std::vector<Listener> listeners() const override { return machine_.listeners(); }

 private:
  [[nodiscard]] const setup::NewFile* find(const fs::path& file) const {
    const auto found = std::find_if(files_.begin(), files_.end(), [&](const setup::NewFile& candidate) {
      return file == fs::absolute(directory_ / candidate.name).lexically_normal();
    });
    return found == files_.end() ? nullptr : &*found;
  }
  fs::path directory_;
  const std::vector<setup::NewFile>& files_;
  config::SystemContext machine_;
};

}  // namespace

std::string state_in_words(FoundExit::State state) {
  switch (state) {
    case FoundExit::State::kNotTested:
      return "not tested";
    case FoundExit::State::kLeadsOn:
      return "reaches the Internet";
    case FoundExit::State::kStopsHere:
      return "answers, but nothing beyond it does; look at the modem's own page";
    case FoundExit::State::kSilent:
      return "does not answer: check its address and its power";
  }
  return {};
}

void test_exits(std::vector<FoundExit>& exits, const netlink::Snapshot& machine, const std::string& server) {
  if (const auto target = test_target(server)) test_lines(exits, machine, *target, false);
}

Result<std::vector<FoundExit>> find_lines(const netlink::Snapshot& machine,
                                          const std::vector<std::string>& wans, const std::string& server) {
  std::vector<FoundExit> exits;
  if (wans.empty()) {
    for (const setup::Exit& exit : setup::find_exits(machine)) exits.push_back({exit});
  } else {
    auto given = given_lines(machine, wans);
    if (!given) return tl::make_unexpected(given.error());
    exits = std::move(*given);
  }
  if (exits.empty()) {
    return failure(
        "no line to the Internet was found: this machine has no default route; name each line with --wan "
        "DEVICE=GATEWAY");
  }
  if (const auto target = test_target(server)) test_lines(exits, machine, *target, wans.empty());
  if (exits.size() > setup::kMostLines) {
    return failure(fmt::format("{} lines are found, and at most {} can be used; name them with --wan",
                               exits.size(), setup::kMostLines));
  }
  say_lines(exits, machine);
  if (exits.size() == 1) {
    say("warning: only one line was found; connect the second and run this again, or name both with --wan "
        "DEVICE=GATEWAY");
  }
  return exits;
}

Result<std::string> internet_device(const netlink::Snapshot& machine) {
  const auto exits = setup::find_exits(machine);
  if (!exits.empty()) return exits.front().device;
  return failure(
      "this machine has no default route, so no device leads to the Internet; connect it and run this again");
}

Result<std::vector<IpPrefix>> parse_networks(const std::vector<std::string>& texts) {
  std::vector<IpPrefix> networks;
  for (const std::string& text : texts) {
    const auto network = parse_prefix(text);
    if (!network || !network->address.is_v4() || network->length == 0) {
      return failure(fmt::format("\"{}\" is not an IPv4 network such as 192.168.1.0/24", text));
    }
    if (network->network() != *network) {
      return failure(
          fmt::format("\"{}\" is an address; the network is {}", text, to_string(network->network())));
    }
    networks.push_back(*network);
  }
  return networks;
}

Result<> check_site_name(const std::string& name) {
  if (setup::is_name(name)) return {};
  return failure(
      fmt::format("\"{}\" cannot be a site's name: letters, digits, '-', '_' and '.', at most 32", name));
}

Result<> check_not_running(const fs::path& run_root, const std::string& name) {
  if (control::RunDirView(run_root, name).running().value_or(0) == 0) return {};
  return failure(fmt::format("{0} is up on this machine; run `bondd down {0}` first", name));
}

Result<> check_new_files(const fs::path& directory, const std::vector<setup::NewFile>& files) {
  const fs::path site_file = directory / files.back().name;
  const auto loaded =
      config::load_text(files.back().content, site_file, MachineWithNewFiles(directory, files));
  for (const config::Diagnostic& diagnostic : loaded.diagnostics) say(config::to_string(diagnostic));
  if (loaded.config) return {};
  return failure(fmt::format("nothing is written: {} would have the errors above", site_file.string()));
}

std::string list_ports(const setup::Agreement& agreement) {
  std::string out;
  for (const setup::Line& line : agreement.lines)
    out += fmt::format("{}{}", out.empty() ? "" : ", ", line.port);
  return out;
}

std::string list_files(const fs::path& directory, const std::vector<setup::NewFile>& files) {
  std::string out;
  for (const setup::NewFile& file : files)
    out += (out.empty() ? "" : ", ") + (directory / file.name).string();
  return out;
}

std::vector<std::string> start_command(const fs::path& directory, const std::string& site) {
  std::error_code ignored;
  constexpr std::array kRoots{"/etc", "/usr/local/lib", "/usr/lib", "/lib"};
  const bool has_unit = std::any_of(kRoots.begin(), kRoots.end(), [&](const char* root) {
    return fs::exists(fs::path(root) / "systemd/system/bondd@.service", ignored);
  });
  if (directory == "/etc/bondd" && has_unit && fs::exists("/run/systemd/system", ignored)) {
    return {"systemctl", "enable", "--now", "bondd@" + site};
  }
  return {"bondd", "up", "-d", directory == "/etc/bondd" ? site : (directory / (site + ".toml")).string()};
}

}  // namespace bondd
