// `bondd join`: the other end's files out of the token of `bondd init` and what this machine has.
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>

#include "bondd/base/text.h"
#include "bondd/control/preflight.h"
#include "bondd/main/commands.h"
#include "bondd/main/prompt.h"
#include "bondd/main/site_file.h"
#include "bondd/main/survey.h"
#include "bondd/setup/store.h"
#include "bondd/setup/token.h"
#include "bondd/supervise/run_program.h"

namespace bondd {
namespace {

constexpr auto kStartPatience = std::chrono::seconds(100);  // above the unit's TimeoutStartSec
constexpr auto kUpTimeout = std::chrono::seconds(30);       // as `bondd up -d`

Result<setup::Token> read_token(const JoinOptions& options) {
  std::string text = options.token;
  if (!text.empty() && text != "-") {
    say("warning: as an argument the token stays in the shell's history; delete it there. `bondd join` alone "
        "asks for it");
  } else {
    auto pasted =
        read_secret_text("Paste the token (it is not shown) and press Enter",
                         [](const std::string& so_far) { return setup::decode(so_far).has_value(); });
    if (!pasted) return tl::make_unexpected(pasted.error());
    text = *pasted;
  }
  auto token = setup::decode(text);
  if (!token) return token;
  if (auto good = setup::check_expiry(*token, std::time(nullptr)); !good)
    return tl::make_unexpected(good.error());
  return token;
}

// The networks and ports of the agreement must be free here.
Result<> check_server(const setup::Agreement& agreement, const netlink::Snapshot& machine) {
  if (const std::string taken = setup::overlap(machine, agreement.bond); !taken.empty()) {
    return failure(
        fmt::format("the bond's network {} overlaps with {} here; run `bondd init --force --bond NETWORK` on "
                    "the other end, with a network that is free on both, such as 172.16.99.0/30",
                    to_string(agreement.bond), taken));
  }
  for (const setup::Line& line : agreement.lines) {
    if (control::try_udp_port({}, line.port) == 0) continue;
    return failure(
        fmt::format("UDP port {} is in use by another program; `ss -ulnp sport = :{}` shows which. Stop it, "
                    "or run `bondd init --force --port PORT` on the other end, with another first port",
                    line.port, line.port));
  }
  return {};
}

Result<std::vector<setup::NewFile>> server_files(const setup::Token& token, const std::string& name,
                                                 const netlink::Snapshot& machine) {
  const auto device = internet_device(machine);
  if (!device) return tl::make_unexpected(device.error());
  if (auto good = check_server(token.agreement, machine); !good) return tl::make_unexpected(good.error());
  say(fmt::format("Traffic of the office leaves by {}, with this machine's address", *device));
  return setup::render_server(token.agreement, {name, setup::propose_interface(machine), *device},
                              token.secret);
}

Result<std::vector<setup::NewFile>> office_files(const setup::Token& token, const std::string& name,
                                                 const std::vector<std::string>& wans,
                                                 const netlink::Snapshot& machine) {
  const auto found = find_lines(machine, wans, token.agreement.server);
  if (!found) return tl::make_unexpected(found.error());
  const std::size_t wanted = token.agreement.lines.size();
  if (found->size() != wanted) {
    return failure(
        fmt::format("the token is for {} lines, and this machine has {}; name them with --wan "
                    "DEVICE=GATEWAY, or run `bondd init --role server --force --lines {}` on the VPS",
                    wanted, found->size(), found->size()));
  }
  return setup::render_office(
      token.agreement, {name, setup::propose_interface(machine), setup::to_write(*found)}, token.secret);
}

Result<std::vector<setup::NewFile>> write_here(const JoinOptions& options, const setup::Token& token,
                                               const std::string& name) {
  auto machine = look_at_machine();
  if (!machine) return tl::make_unexpected(machine.error());
  *machine = setup::without_site(std::move(*machine), name);
  if (const std::string why = setup::wrong_end(*machine, token.agreement, token.role); !why.empty())
    return failure(why);
  auto files = token.role == model::Role::kServer ? server_files(token, name, *machine)
                                                  : office_files(token, name, options.wans, *machine);
  if (!files) return files;
  auto written = check_new_files(options.out, *files);
  if (written) {
    written = setup::write_files(options.out, *files,
                                 options.force ? setup::Existing::kReplace : setup::Existing::kKeep);
  }
  if (!written) return tl::make_unexpected(written.error());
  return files;
}

// The token is taken first, so that who comes second is told just that, whatever the first has changed here.
Result<std::vector<setup::NewFile>> redeem(const JoinOptions& options, const setup::Token& token,
                                           const std::string& name) {
  const std::string use =
      fmt::format("{}, {}", (options.out / (name + ".toml")).string(), setup::utc(std::time(nullptr)));
  if (auto taken = setup::take_token(options.state, token.id, use); !taken)
    return tl::make_unexpected(taken.error());
  auto files = write_here(options, token, name);
  if (!files) setup::give_token_back(options.state, token.id);
  return files;
}

int start(const JoinOptions& options, const std::string& name) {
  const std::vector<std::string> command = start_command(options.out, name);
  say(shell_join(command));
  if (command.front() == "bondd") {
    UpOptions up;
    up.run_root = options.run_root;
    up.file = command.back();
    up.detach = true;
    up.timeout = kUpTimeout;
    return up_command(up);
  }
  const auto ran = supervise::run_program(command, {}, kStartPatience);
  if (ran && ran->ok()) return kDone;
  say(ran ? ran->errors : ran.error().message);
  return kFailed;
}

Result<int> run(const JoinOptions& options) {
  if (geteuid() != 0) return failure("joining needs root: run this as root (sudo bondd join)");
  const auto token = read_token(options);
  if (!token) return tl::make_unexpected(token.error());
  const std::string name = options.name.empty() ? token->site : options.name;
  if (auto good = check_site_name(name); !good) return tl::make_unexpected(good.error());
  if (auto idle = check_not_running(options.run_root, name); !idle) return tl::make_unexpected(idle.error());
  const auto files = redeem(options, *token, name);
  if (!files) return tl::make_unexpected(files.error());
  say(fmt::format("Written: {}", list_files(options.out, *files)));
  if (token->role == model::Role::kServer) {
    say(fmt::format("The provider of this machine must let UDP ports {} in.", list_ports(token->agreement)));
  }
  if (options.up) return start(options, name);
  say(fmt::format("Next, as root:  {}", shell_join(start_command(options.out, name))));
  return kDone;
}

}  // namespace

int join_command(const JoinOptions& options) {
  const auto status = run(options);
  if (!status) say_error(status.error());
  return status.value_or(kFailed);
}

}  // namespace bondd
