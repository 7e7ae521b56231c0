#include "bondd/problems/table.h"

#include <fmt/format.h>

#include <array>

namespace bondd::problems {
namespace {

using namespace std::chrono_literals;
using model::Severity;

// Long enough for an ordinary start of a WAN, so that no false alarm comes and goes.
constexpr Duration kAtOnce = 0s;
constexpr Duration kBrief = 2s;
constexpr Duration kStart = 4s;
// A figure that is told from the last minute moves back and forth over its limit.
constexpr Duration kMeasured = 10s;

constexpr std::array<Row, kCodes> kTable = {{
    {Code::kEngineDown, "engine-down", Severity::kError, Hop::kProgram, kAtOnce,
     "the program that carries the packets does not run: {detail}",
     "bondd starts it again by itself; if it keeps ending, see `journalctl -u bondd@{site}`"},
    {Code::kNameUnresolved, "name-unresolved", Severity::kError, Hop::kProgram, kAtOnce, "{detail}",
     "check address in [server] of {file}, and this machine's DNS: getent hosts {server}"},
    {Code::kInterfaceMissing, "interface-missing", Severity::kError, Hop::kInterface, kAtOnce,
     "interface {device} does not exist",
     "plug it in, or correct device in {file}; is role right? `ip -br link` lists the interfaces"},
    {Code::kInterfaceDown, "interface-down", Severity::kError, Hop::kInterface, kBrief,
     "interface {device} has no link",
     "check the cable and the power of what it leads to; ip link set {device} up"},
    // Its text names the cure.
    {Code::kWanStopped, "wan-stopped", Severity::kError, Hop::kMachine, kAtOnce, "{detail}", "", true},
    {Code::kGatewayUnknown, "gateway-unknown", Severity::kError, Hop::kGateway, kStart, "{detail}",
     "wait for DHCP or PPP to bring it, or correct device and gateway in this [[wan]] of {file}"},
    {Code::kGatewaySilent, "gateway-silent", Severity::kError, Hop::kGateway, kBrief,
     "gateway {gateway} does not answer (ARP) on {device}",
     "check gateway in {file}, and the modem-router's power and cable"},
    {Code::kLineDead, "line-dead", Severity::kError, Hop::kInternet, kBrief,
     "gateway {gateway} answers, but nothing beyond it does: no Internet here",
     "look at the modem-router's status page: is it connected?"},
    {Code::kUnreachable, "unreachable", Severity::kError, Hop::kInternet, kBrief,
     "a router on the way ({hop}) says that it cannot reach the server {server}",
     "check that the server runs, and address in [server] of {file}; where other WANs reach it, this one's "
     "provider has a fault"},
    {Code::kServerDead, "server-dead", Severity::kError, Hop::kServer, kBrief,
     "the Internet answers (up to {hop}), but the server {server} does not",
     "check that the server runs, and address in [server] of {file}"},
    {Code::kPortRefused, "port-refused", Severity::kError, Hop::kPort, kBrief,
     "the server {server} refuses UDP port {port}: nothing listens there, or a firewall there rejects it",
     "run `bondd up` on the server; there, role must be \"server\" and port the same as here; is address in "
     "[server] right?"},
    {Code::kPortRejected, "port-rejected", Severity::kError, Hop::kPort, kBrief,
     "the firewall of the server {server} rejects UDP port {port}",
     "let UDP {port} in there: its `bondd status` names the table, the chain and the rule to add"},
    {Code::kPortSilent, "port-silent", Severity::kError, Hop::kPort, kBrief,
     "the server {server} answers, but not on UDP port {port}: something drops it",
     "let UDP {port} in, in the server's firewall and in its provider's; the key is right, for another WAN "
     "uses it"},
    {Code::kPortOrSecret, "port-or-secret", Severity::kError, Hop::kPort, kBrief,
     "the server {server} answers, but nothing comes from its UDP port {port}: either a firewall drops it, "
     "or "
     "the key or password of the two ends differs",
     "`bondd status` on the server tells which: \"cannot be decrypted\" is the key or password, \"nothing "
     "arrives\" a firewall there or at its provider"},
    {Code::kSecretDiffers, "secret-differs", Severity::kError, Hop::kSession, kAtOnce,
     "packets on UDP port {port} cannot be decrypted: {detail}",
     "copy the password or key file from one end to the other, then `bondd reload {site}`"},
    {Code::kPeerRefused, "peer-refused", Severity::kError, Hop::kSession, kAtOnce,
     "the other end is refused on UDP port {port}: {detail}",
     "update bondd there; if the original program is meant to be there, write peer = \"mlvpn\" into [mlvpn] "
     "of {file}; if keys do not fit, make them anew: `bondd init --force` here, `bondd join --force` there"},
    {Code::kOfficeSilent, "office-port-silent", Severity::kError, Hop::kPort, kStart,
     "nothing arrives on UDP port {port}, though the office is connected on other ports",
     "check that WAN at the office; open UDP {port} in this machine's and its provider's firewall; compare "
     "port"},
    {Code::kOfficeAway, "office-away", Severity::kNote, Hop::kPort, kAtOnce,
     "waiting for the office: nothing arrives on UDP port {port}",
     "run `bondd up` at the office, whose file has role = \"client\"; if this machine is the office, write "
     "that here; open UDP {port} in this machine's and its provider's firewall"},
    {Code::kNoReply, "no-reply", Severity::kError, Hop::kSession, kStart, "{detail}", ""},
    {Code::kPeerLeft, "peer-left", Severity::kError, Hop::kSession, kAtOnce,
     "the other end's bondd was stopped", "run `bondd up` there; this end connects by itself"},
    {Code::kOneWay, "one-way", Severity::kError, Hop::kSession, kStart,
     "packets of the other end arrive, but it receives none that are sent from here to UDP port {port}",
     "check the firewalls of both ends and the modem-router{detail}"},
    {Code::kRepairFailed, "repair-failed", Severity::kError, Hop::kNone, kAtOnce, "{detail}",
     "bondd tries again; `bondd plan {site}` shows what is missing"},
    {Code::kSettingFixed, "setting-fixed", Severity::kError, Hop::kNone, kAtOnce,
     "{key} is {theirs}, bondd needs {ours}, and /proc/sys is read-only here: packets are dropped",
     "set it on the host, or in the container's options (docker: --sysctl {key}={ours})"},
    {Code::kRedirectsOn, "redirects-on", Severity::kWarning, Hop::kNone, kAtOnce,
     "{key} is {theirs}, and /proc/sys is read-only here: redirects (ICMP) may lead packets past their WAN",
     "set it to {ours} on the host, or in the container's options (docker: --sysctl {key}={ours})"},
    {Code::kPastBond, "past-bond", Severity::kWarning, Hop::kNone, kAtOnce,
     "new connections leave by {detail}, past the bond and outside its encryption",
     "they take the bond again when it carries; to hold them instead, write direct = false in [failover] of "
     "{file}"},
    // Its text names the cure.
    {Code::kOfficeInside, "office-inside", Severity::kError, Hop::kNone, kAtOnce, "{detail}", ""},
    {Code::kUnconfirmed, "unconfirmed", Severity::kWarning, Hop::kNone, kAtOnce, "{detail}",
     "`bondd confirm {site}` keeps the changed file", true},
    {Code::kRolesEqual, "roles-equal", Severity::kError, Hop::kNone, kAtOnce,
     "both files say role = \"{ours}\"", "one end is \"client\" (the office), the other \"server\""},
    {Code::kFormatDiffers, "format-differs", Severity::kError, Hop::kNone, kAtOnce,
     "nothing passes: {key} is {ours} here and {theirs} on the other end",
     "write the same into both files and reload both ends"},
    {Code::kSettingDiffers, "setting-differs", Severity::kWarning, Hop::kNone, kAtOnce,
     "{key} is {ours} here and {theirs} on the other end",
     "write the same into both files and reload both ends"},
    {Code::kPeerDiffers, "peer-differs", Severity::kWarning, Hop::kNone, kAtOnce,
     "{key} in [bond] is {ours} here, and the other end says {theirs}",
     "address of each end must be peer of the other; correct [bond] and reload that end"},
    {Code::kTunnelsDiffer, "tunnels-differ", Severity::kWarning, Hop::kNone, kAtOnce,
     "weight, upload or download of {wan} gives it {ours} tunnels here and {theirs} on the other end",
     "write the same weights, or the same rates, into both files and reload both ends"},
    {Code::kWanMissingThere, "wan-missing-there", Severity::kWarning, Hop::kNone, kAtOnce,
     "the other end's file has no [[wan]] with port {port}",
     "add it there, or correct port in one of the files"},
    {Code::kWanMissingHere, "wan-missing-here", Severity::kWarning, Hop::kNone, kAtOnce,
     "the other end has a WAN {theirs} with port {port}, this file has none with that port",
     "add it to {file}, or correct port in one of the files"},
    {Code::kNameDiffers, "name-differs", Severity::kNote, Hop::kNone, kAtOnce,
     "UDP port {port} is called {ours} here and {theirs} on the other end",
     "give it the same name in both files; were the ports meant the other way round?"},
    {Code::kNatMissing, "nat-missing", Severity::kWarning, Hop::kNone, kAtOnce,
     "the server's file names no device in [nat] masquerade: the office's computers get no answer from the "
     "Internet",
     "write masquerade = [\"{detail}\"] into [nat] of the server's file and reload there"},
    {Code::kNatDevice, "nat-device", Severity::kWarning, Hop::kNone, kAtOnce,
     "the server translates addresses (NAT) on {theirs}, but its way to the Internet is {detail}",
     "write masquerade = [\"{detail}\"] into [nat] of the server's file and reload there"},
    {Code::kLanMissing, "lan-missing", Severity::kWarning, Hop::kNone, kAtOnce,
     "the office's network {detail} is not in through_bond of the server's file: its computers get no answer",
     "add \"{detail}\" to through_bond in [routes] of the server's file and reload there"},
    // Their texts name the cure.
    {Code::kForeignRules, "foreign-rules", Severity::kWarning, Hop::kNone, kAtOnce, "{detail}", "", true},
    {Code::kFirewallDrops, "firewall-drops", Severity::kWarning, Hop::kNone, kAtOnce, "{detail}", "", true},
    {Code::kLineNarrow, "line-narrow", Severity::kWarning, Hop::kNone, kAtOnce, "{detail}", ""},
    {Code::kLineLossy, "line-lossy", Severity::kWarning, Hop::kNone, kMeasured, "{detail}", ""},
    {Code::kLineLate, "line-late", Severity::kWarning, Hop::kNone, kMeasured, "{detail}", ""},
    {Code::kWanNote, "wan-note", Severity::kNote, Hop::kNone, kAtOnce, "{detail}", "", true},
    {Code::kStartNote, "start-note", Severity::kNote, Hop::kNone, kAtOnce, "{detail}", "", true},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].code) != i) return false;
  }
  return true;
}
static_assert(in_order());

}  // namespace

std::span<const Row> table() {
  return kTable;
}

const Row& row(Code code) {
  return kTable.at(static_cast<std::size_t>(code));
}

std::string render(std::string_view text, const Words& w) {
  return fmt::format(fmt::runtime(text), fmt::arg("wan", w.wan), fmt::arg("device", w.device),
                     fmt::arg("gateway", w.gateway), fmt::arg("server", w.server), fmt::arg("port", w.port),
                     fmt::arg("hop", w.hop), fmt::arg("site", w.site), fmt::arg("file", w.file),
                     fmt::arg("key", w.key), fmt::arg("ours", w.ours), fmt::arg("theirs", w.theirs),
                     fmt::arg("detail", w.detail));
}

std::string to_line(const Found& found) {
  const Row& about = row(found.code);
  const std::string remedy = render(about.remedy, found.words);
  return render(about.text, found.words) + (remedy.empty() ? "" : "; " + remedy);
}

}  // namespace bondd::problems
