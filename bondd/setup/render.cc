#include "bondd/setup/render.h"

#include <fmt/format.h>

#include <algorithm>

namespace bondd::setup {
namespace {

std::string head(const Agreement& agreement, std::string_view role, const std::string& site) {
  return fmt::format(
      "# After a change: `bondd check {0}`, then `bondd reload {0}`. See bondd.toml(5).\n"
      "role    = \"{1}\"\n"
      "backend = \"{2}\"\n",
      site, role, name(agreement.backend));
}

std::string bond_table(const std::string& interface, const IpPrefix& bond, const IpAddress& own,
                       const IpAddress& peer) {
  return fmt::format(
      "\n[bond]\n"
      "interface = \"{}\"\n"
      "address   = \"{}/{}\"\n"
      "peer      = \"{}\"\n",
      interface, to_string(own), bond.length, to_string(peer));
}

std::string secret_table(const Agreement& agreement, const std::string& site, const Credentials& secret) {
  if (agreement.backend == model::Backend::kMlvpn) {
    const std::string keys = fmt::format("key_file      = \"{}.keys\"      # who the two ends are\n", site);
    return fmt::format(
        "\n[mlvpn]\n"
        "password_file = \"{}.password\"\n"
        "{}"
        "peer          = \"bondd\"            # nothing but session keys\n",
        site, secret.key_pair.empty() ? "" : keys);
  }
  return fmt::format(
      "\n[openvpn]                           # this end's key: {0}.key and {0}.crt\n"
      "fingerprint = \"{1}\"\n",
      site, secret.peer_fingerprint);
}

std::string networks(const std::vector<IpPrefix>& list) {
  std::string out;
  for (const IpPrefix& network : list)
    out += fmt::format("{}\"{}\"", out.empty() ? "" : ", ", to_string(network));
  return out;
}

std::vector<NewFile> with_secrets(const Agreement& agreement, const std::string& site,
                                  const Credentials& secret, std::string text) {
  std::vector<NewFile> files;
  if (agreement.backend == model::Backend::kMlvpn) {
    files.push_back({site + ".password", secret.password + "\n"});
    if (!secret.key_pair.empty()) files.push_back({site + ".keys", secret.key_pair});
  } else {
    files.push_back({site + ".key", secret.private_key});
    files.push_back({site + ".crt", secret.certificate});
  }
  files.push_back({site + ".toml", std::move(text)});
  return files;
}

}  // namespace

std::vector<NewFile> render_office(const Agreement& agreement, const OfficeEnd& end,
                                   const Credentials& secret) {
  std::string text = head(agreement, "client", end.site);
  text += fmt::format("\n[server]\naddress = \"{}\"\n", agreement.server);
  text += bond_table(end.interface, agreement.bond, office_address(agreement.bond),
                     server_address(agreement.bond));
  for (std::size_t i = 0; i < std::min(agreement.lines.size(), end.exits.size()); ++i) {
    const Exit& exit = end.exits[i];
    text +=
        fmt::format("\n[[wan]]\nname    = \"{}\"\ndevice  = \"{}\"", agreement.lines[i].name, exit.device);
    text += exit.gateway ? fmt::format("\ngateway = \"{}\"\n", to_string(*exit.gateway))
                         : "    # its gateway is learned from its default route (DHCP, PPP)\n";
    text += fmt::format("port    = {}\n", agreement.lines[i].port);
  }
  text += "\n[routes]\nthrough_bond = [\"0.0.0.0/0\"]      # everything\n";
  text += secret_table(agreement, end.site, secret);
  return with_secrets(agreement, end.site, secret, std::move(text));
}

std::vector<NewFile> render_server(const Agreement& agreement, const ServerEnd& end,
                                   const Credentials& secret) {
  std::string text = head(agreement, "server", end.site);
  text += bond_table(end.interface, agreement.bond, server_address(agreement.bond),
                     office_address(agreement.bond));
  for (const Line& line : agreement.lines) {
    text += fmt::format("\n[[wan]]\nname = \"{}\"\nport = {}\n", line.name, line.port);
  }
  text +=
      fmt::format("\n[routes]\nthrough_bond = [{}]      # the office's networks\n", networks(agreement.lans));
  text += secret_table(agreement, end.site, secret);
  text += fmt::format(
      "\n[nat]\nmasquerade = [\"{}\"]              # the office uses this machine's address there\n",
      end.internet_device);
  return with_secrets(agreement, end.site, secret, std::move(text));
}

}  // namespace bondd::setup
