// `bondd init`: this end's files out of what the machine has, and a token for the other end.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "bondd/base/text.h"
#include "bondd/main/commands.h"
#include "bondd/main/prompt.h"
#include "bondd/main/qr.h"
#include "bondd/main/site_file.h"
#include "bondd/main/survey.h"
#include "bondd/setup/secrets.h"
#include "bondd/setup/store.h"
#include "bondd/setup/token.h"
#include "bondd/setup/values.h"

namespace bondd {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kUsualLines = 2;
constexpr std::string_view kUsualOffice = "office", kUsualServer = "vps";

// This end's files, and what the other end is told.
struct Made {
  std::vector<setup::NewFile> files;
  setup::Token token;
};

std::string other_name(model::Role own, const std::string& name) {
  const bool usual = name == kUsualOffice || name == kUsualServer;
  if (!usual) return name;
  return std::string(own == model::Role::kClient ? kUsualServer : kUsualOffice);
}

std::vector<setup::Line> make_lines(std::size_t count, unsigned first_port) {
  std::vector<setup::Line> lines;
  for (std::size_t i = 0; i < count; ++i) {
    lines.push_back({fmt::format("wan{}", i + 1), static_cast<std::uint16_t>(first_port + i)});
  }
  return lines;
}

Result<std::string> server_of(const InitOptions& options, const std::string& proposal) {
  std::string server = options.server;
  if (server.empty()) {
    auto answer = ask("Address or name of the VPS", proposal, "--server ADDRESS");
    if (!answer) return answer;
    server = *answer;
  }
  if (!setup::is_host(server)) return failure(fmt::format("\"{}\" is not an address or a host name", server));
  if (const auto ip = parse_ip(server); ip && !ip->is_v4()) {
    return failure(
        fmt::format("{} is IPv6, which bondd does not carry yet; take the VPS's IPv4 address", server));
  }
  return server;
}

// Address space of the bond: given, or a free /30.
Result<IpPrefix> bond_network(const InitOptions& options, const netlink::Snapshot& machine,
                              const std::vector<IpPrefix>& lans) {
  constexpr const char* kExample = "--bond needs a network for two addresses, such as 172.16.99.0/30";
  if (options.bond.empty()) {
    const auto proposal = setup::propose_bond(machine, lans);
    if (!proposal) return failure(fmt::format("no network is free for the bond's addresses; {}", kExample));
    return *proposal;
  }
  const auto given = parse_networks({options.bond});
  if (!given) return tl::make_unexpected(given.error().in("--bond"));
  if (given->front().length > 30) return failure(kExample);
  return given->front();
}

Result<std::vector<IpPrefix>> given_networks(const std::vector<std::string>& texts) {
  auto networks = parse_networks(texts);
  if (!networks) return tl::make_unexpected(networks.error().in("--lan"));
  return networks;
}

Result<std::vector<IpPrefix>> office_networks(const InitOptions& options, const netlink::Snapshot& machine,
                                              const std::vector<setup::Exit>& exits) {
  if (!options.lans.empty()) return given_networks(options.lans);
  auto found = setup::find_lans(machine, exits);
  if (!found.empty()) return found;
  const auto answer = ask("The office's network, such as 192.168.1.0/24", "", "--lan NETWORK");
  if (!answer) return tl::make_unexpected(answer.error());
  return given_networks({*answer});
}

Result<Made> make_office(const InitOptions& options, const std::string& name,
                         const netlink::Snapshot& machine) {
  Made made;
  setup::Agreement& agreement = made.token.agreement;
  agreement.backend = options.backend;
  const auto server = server_of(options, "");
  if (!server) return tl::make_unexpected(server.error());
  agreement.server = *server;
  const auto found = find_lines(machine, options.wans, *server);
  if (!found) return tl::make_unexpected(found.error());
  const setup::OfficeEnd end{name, setup::propose_interface(machine), setup::to_write(*found)};
  const auto lans = office_networks(options, machine, end.exits);
  if (!lans) return tl::make_unexpected(lans.error());
  agreement.lans = *lans;
  const auto bond = bond_network(options, machine, *lans);
  if (!bond) return tl::make_unexpected(bond.error());
  agreement.bond = *bond;
  agreement.lines = make_lines(end.exits.size(), options.first_port);
  made.token.role = model::Role::kServer;
  made.token.site = other_name(model::Role::kClient, name);
  auto secrets = setup::make_secrets(options.backend, name, made.token.site);
  if (!secrets) return tl::make_unexpected(secrets.error());
  made.files = setup::render_office(agreement, end, secrets->own);
  made.token.secret = secrets->other;
  return made;
}

Result<Made> make_server(const InitOptions& options, const std::string& name,
                         const netlink::Snapshot& machine) {
  Made made;
  setup::Agreement& agreement = made.token.agreement;
  agreement.backend = options.backend;
  const auto device = internet_device(machine);
  if (!device) return tl::make_unexpected(device.error());
  const IpPrefix own = setup::device_network(machine, *device);
  const auto server = server_of(options, own.length == 0 ? "" : to_string(own.address));
  if (!server) return tl::make_unexpected(server.error());
  agreement.server = *server;
  // This machine's networks are not the office's.
  const auto lans = office_networks(options, netlink::Snapshot{}, {});
  if (!lans) return tl::make_unexpected(lans.error());
  agreement.lans = *lans;
  const auto bond = bond_network(options, machine, *lans);
  if (!bond) return tl::make_unexpected(bond.error());
  agreement.bond = *bond;
  agreement.lines = make_lines(options.lines == 0 ? kUsualLines : options.lines, options.first_port);
  made.token.role = model::Role::kClient;
  made.token.site = other_name(model::Role::kServer, name);
  auto secrets = setup::make_secrets(options.backend, name, made.token.site);
  if (!secrets) return tl::make_unexpected(secrets.error());
  made.files =
      setup::render_server(agreement, {name, setup::propose_interface(machine), *device}, secrets->own);
  made.token.secret = secrets->other;
  return made;
}

void say_agreement(const setup::Agreement& agreement) {
  std::string lans;
  for (const IpPrefix& lan : agreement.lans)
    lans += fmt::format("{}{}", lans.empty() ? "" : ", ", to_string(lan));
  say(fmt::format("Networks of the office: {}", lans));
  say(fmt::format("Backend: {}", agreement.backend == model::Backend::kMlvpn
                                     ? "mlvpn: it measures each line by itself and needs no kernel module"
                                     : "openvpn-bond: OpenVPN tunnels in a bond of the kernel"));
}

Result<> confirm(const InitOptions& options) {
  if (options.yes || !can_ask()) return {};
  const auto answer = ask("Write the files?", "yes", "--yes");
  if (answer && (answer->starts_with('y') || answer->starts_with('Y'))) return {};
  return failure("nothing is written");
}

void say_token(const Made& made) {
  say(fmt::format(
      "\nThe next line is the token for the other machine. It is a secret like a password. It works once,\n"
      "until {}.\n",
      setup::utc(made.token.expires)));
}

void say_next(const InitOptions& options, const std::string& name, const Made& made) {
  const bool for_server = made.token.role == model::Role::kServer;
  say("\nNext, as root:");
  say(fmt::format("  1. {:14}  bondd join --up      (and paste the token there)",
                  for_server ? "on the VPS:" : "in the office:"));
  say(fmt::format("  2. {:14}  {}", "on this one:", shell_join(start_command(options.out, name))));
  say(fmt::format("The VPS's provider must let UDP ports {} in.", list_ports(made.token.agreement)));
}

// The new files and the token; nothing is written before everything is known to be right.
Result<Made> make(const InitOptions& options, const std::string& name) {
  if (auto good = check_site_name(name); !good) return tl::make_unexpected(good.error());
  std::error_code ignored;
  const fs::path file = options.out / (name + ".toml");
  if (!options.force && fs::exists(fs::symlink_status(file, ignored))) {
    return failure(fmt::format(
        "{} exists and is left as it is; choose another --name, or --force replaces it", file.string()));
  }
  if (auto idle = check_not_running(options.run_root, name); !idle) return tl::make_unexpected(idle.error());
  auto machine = look_at_machine();
  if (!machine) return tl::make_unexpected(machine.error());
  *machine = setup::without_site(std::move(*machine), name);
  auto made = options.role == model::Role::kClient ? make_office(options, name, *machine)
                                                   : make_server(options, name, *machine);
  if (!made) return made;
  say_agreement(made->token.agreement);
  auto good = check_new_files(options.out, made->files);
  if (good) good = confirm(options);
  if (!good) return tl::make_unexpected(good.error());
  return made;
}

}  // namespace

int init_command(const InitOptions& options) {
  if (geteuid() != 0 && options.out == kSitesDirectory) {
    say(fmt::format("bondd: {} belongs to root: run this as root (sudo bondd init …)", kSitesDirectory));
    return kFailed;
  }
  const bool office = options.role == model::Role::kClient;
  const std::string name =
      !options.name.empty() ? options.name : std::string(office ? kUsualOffice : kUsualServer);
  auto made = make(options, name);
  if (!made) {
    say_error(made.error());
    return kFailed;
  }
  made->token.id = setup::random_id();
  made->token.expires =
      std::time(nullptr) + std::chrono::duration_cast<std::chrono::seconds>(options.valid).count();
  const auto existing = options.force ? setup::Existing::kReplace : setup::Existing::kKeep;
  if (auto written = setup::write_files(options.out, made->files, existing); !written) {
    say_error(written.error());
    return kFailed;
  }
  say(fmt::format("Written: {}", list_files(options.out, made->files)));
  const std::string token = setup::encode(made->token);
  say_token(*made);
  fmt::print("{}\n", token);
  std::fflush(stdout);
  if (options.qr) say(draw_qr(token));
  say_next(options, name, *made);
  return kDone;
}

}  // namespace bondd
