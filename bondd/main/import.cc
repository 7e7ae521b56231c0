// `bondd import`: a site's files from those of the original MLVPN, or of NethServer's module for it.
#include <fmt/format.h>

#include "bondd/base/file.h"
#include "bondd/main/site_file.h"
#include "bondd/main/tools.h"
#include "bondd/setup/import_mlvpn.h"
#include "bondd/setup/nethserver_records.h"
#include "bondd/setup/store.h"

namespace bondd {
namespace {

// By the device that has the address, and by the gateway of any table that lies in that address's network.
std::optional<setup::ImportExit> exit_with(const netlink::Snapshot& network, const IpAddress& address) {
  for (const netlink::Address& own : network.addresses) {
    if (own.prefix.address != address) continue;
    setup::ImportExit exit{own.device, std::nullopt};
    for (const netlink::Route& route : network.routes) {
      if (route.destination.is_default() && route.gateway && own.prefix.contains(*route.gateway))
        exit.gateway = route.gateway;
    }
    return exit;
  }
  return std::nullopt;
}

void say_remarks(const std::vector<setup::ImportRemark>& remarks, const std::string& file) {
  for (const setup::ImportRemark& remark : remarks) {
    say(remark.line == 0 ? fmt::format("{}: {}", file, remark.text)
                         : fmt::format("{}:{}: {}", file, remark.line, remark.text));
  }
}

int import_one(const setup::ConfFile& conf, const setup::UpdownScript* script, const ImportOptions& options) {
  std::string site = !options.name.empty() ? options.name : conf.name;
  if (site.empty()) site = setup::is_server(conf) ? "vps" : "office";
  const auto name = config::site_name(site + ".toml");
  if (!name) return say_error(name.error()), kFailed;
  if (*name != site) {
    say(fmt::format("bondd: --name {} is a path; --out names the directory", site));
    return kFailed;
  }
  const auto network = look_at_machine();
  const auto exit_of = [&](const IpAddress& address) {
    return network ? exit_with(*network, address) : std::nullopt;
  };
  const setup::Imported imported = setup::import_mlvpn(conf, site, exit_of, script);
  say_remarks(imported.remarks, options.file);
  const auto existing = options.force ? setup::Existing::kReplace : setup::Existing::kKeep;
  if (auto written = setup::write_files(options.out, imported.files, existing); !written) {
    say_error(written.error());
    if (written.error().code == EEXIST) say("--force replaces files that exist");
    return kFailed;
  }
  const auto file = options.out / (site + ".toml");
  fmt::print("{}\n", file.native());
  if (!imported.complete) {
    say(fmt::format("{0} is not complete, see above; then `bondd check {0}`", file.native()));
    return kFailed;
  }
  return load_site_file(file) ? kDone : kFailed;
}

}  // namespace

int import_command(const ImportOptions& options) {
  const auto text = read_file(options.file);
  if (!text) return say_error(text.error()), kFailed;
  std::optional<setup::UpdownScript> script;
  if (!options.script.empty()) {
    const auto content = read_file(options.script);
    if (!content) return say_error(content.error()), kFailed;
    script = setup::parse_updown_script(*content);
    say_remarks(script->remarks, options.script);
  }
  const setup::UpdownScript* const scripted = script ? &*script : nullptr;
  if (!setup::has_nethserver_records(*text))
    return import_one(setup::parse_mlvpn_conf(*text), scripted, options);
  const auto tunnels = setup::parse_nethserver_records(*text);
  if (tunnels.size() > 1 && !options.name.empty()) {
    say(fmt::format("bondd: {} has {} tunnels, so --name cannot name them; without it each keeps its own",
                    options.file, tunnels.size()));
    return kWrongUse;
  }
  int status = kDone;
  for (const setup::ConfFile& tunnel : tunnels)
    status = std::max(status, import_one(tunnel, scripted, options));
  return status;
}

}  // namespace bondd
