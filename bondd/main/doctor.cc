// `bondd doctor`: looks at this machine, at the site's file and at the running site, and says of each thing
// whether it is right. Changes nothing.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/utsname.h>

#include <algorithm>
#include <ctime>

#include "bondd/control/observer.h"
#include "bondd/control/preflight.h"
#include "bondd/control/run_dir.h"
#include "bondd/control/sysctls.h"
#include "bondd/doctor/machine.h"
#include "bondd/doctor/site.h"
#include "bondd/ipc/control_client.h"
#include "bondd/main/ask_sites.h"
#include "bondd/main/commands.h"
#include "bondd/main/foreign_look.h"
#include "bondd/main/site_file.h"
#include "bondd/main/survey.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/plan.h"
#include "bondd/supervise/run_program.h"

namespace bondd {
namespace {

using doctor::Finding;
using doctor::Level;

constexpr auto kAskLimit = std::chrono::seconds(5);

std::string first_line(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
}

std::string iptables_version() {
  const auto ran = supervise::run_program({"iptables", "--version"});
  return ran && ran->ok() ? first_line(ran->output) : "";
}

// Whether NTP keeps the clock; nothing where the kernel does not tell (containers).
std::optional<bool> clock_is_kept() {
  timex now{};
  const int state = adjtimex(&now);
  if (state < 0) return std::nullopt;
  return state != TIME_ERROR;
}

std::int64_t made_at() {
  struct stat own {};
  return stat("/proc/self/exe", &own) == 0 ? own.st_mtime : 0;
}

std::vector<std::string> strict_wan_devices(const model::Config& config, const netlink::Snapshot& network,
                                            const control::Sysctls& sysctls) {
  std::vector<std::string> out;
  const auto is_strict = [&](const std::string& device) {
    return sysctls.read(fmt::format("net.ipv4.conf.{}.rp_filter", plan::device_key(device))).value_or("") ==
           "1";
  };
  for (const model::Wan& wan : config.wans) {
    const std::string device = plan::find_exit(wan, network).device;
    if (!device.empty() && std::ranges::find(out, device) == out.end() && is_strict(device))
      out.push_back(device);
  }
  return out;
}

doctor::MachineFacts look_at(const model::Config* config) {
  doctor::MachineFacts facts;
  utsname name{};
  if (uname(&name) == 0) facts.kernel = name.release;
  facts.iptables = iptables_version();
  facts.now = std::time(nullptr);
  facts.installed = made_at();
  facts.synchronised = clock_is_kept();
  const auto sysctls = control::make_sysctls();
  if (const auto value = sysctls->read("net.ipv4.ip_forward")) facts.forwarding = *value == "1";
  if (config == nullptr) return facts;
  const auto programs = control::find_programs();
  facts.openvpn = programs.openvpn_version;
  for (const Error& error : control::check_system(*config, programs)) facts.missing.push_back(error.message);
  if (const auto network = look_at_machine(); network && config->role == model::Role::kClient)
    facts.strict = strict_wan_devices(*config, *network, *sysctls);
  return facts;
}

std::vector<Finding> file_findings(const config::Loaded& loaded, const std::filesystem::path& path) {
  std::vector<Finding> out;
  for (const config::Diagnostic& one : loaded.diagnostics) {
    const bool error = one.severity == config::Severity::kError;
    out.push_back({error ? "file-error" : "file-warning", error ? Level::kError : Level::kWarning, "",
                   config::to_string(one), ""});
  }
  if (out.empty())
    out.push_back({"file", Level::kOk, "", fmt::format("{} has no errors", path.native()), ""});
  return out;
}

Finding line_finding(const model::Wan& wan, const plan::Exit& exit, setup::FoundExit::State state) {
  using State = setup::FoundExit::State;
  if (!exit.known())
    return {"line-unknown", Level::kError, wan.name, exit.waits,
            "see device and gateway of this [[wan]], and what `ip -br addr` and `ip route` show"};
  const std::string text = fmt::format("{} {}", plan::to_string(exit), state_in_words(state));
  switch (state) {
    case State::kLeadsOn:
      return {"line", Level::kOk, wan.name, text, ""};
    case State::kNotTested:
      return {"line-untested", Level::kNote, wan.name, text, ""};
    case State::kStopsHere:
      return {"line-dead", Level::kError, wan.name, text, ""};
    case State::kSilent:
      return {"gateway-silent", Level::kError, wan.name, text, ""};
  }
  return {};
}

// How far each WAN of an office gets, asked as `bondd init` asks.
std::vector<Finding> line_findings(const model::Config& config) {
  const auto network = look_at_machine();
  if (config.role != model::Role::kClient || !network) return {};
  std::vector<plan::Exit> ways;
  std::vector<setup::FoundExit> exits;
  for (const model::Wan& wan : config.wans) {
    ways.push_back(plan::find_exit(wan, *network));
    setup::FoundExit& found = exits.emplace_back();
    found.exit = {ways.back().device, ways.back().gateway};
    found.is_named = true;
  }
  test_exits(exits, *network, config.server.address);
  std::vector<Finding> out;
  for (std::size_t i = 0; i < ways.size(); ++i)
    out.push_back(line_finding(config.wans[i], ways[i], exits[i].state));
  return out;
}

// Of a site whose bondd does not answer.
std::vector<Finding> resting_findings(const model::Config& config, const control::RunDirView& view,
                                      const std::filesystem::path& run_root) {
  std::vector<Finding> out = line_findings(config);
  const Others others = look_for_foreign(config, run_root);
  for (const std::string& text : others.obstacles) out.push_back({"firewall", Level::kError, "", text, ""});
  for (const plan::Note& note : others.notes)
    out.push_back({"foreign-rules", Level::kWarning, note.wan, note.text, ""});
  if (view.running()) {
    out.push_back({"busy", Level::kWarning, "", fmt::format("{} is coming up or going down", view.site()),
                   "wait, and ask again"});
  } else if (view.slot()) {
    out.push_back({"left-behind", Level::kError, "", "a killed bondd left things behind",
                   fmt::format("`bondd down {}` removes them", view.site())});
  } else {
    out.push_back({"not-running", Level::kError, "", fmt::format("{} is not up", view.site()),
                   fmt::format("`bondd up -d {}` starts it", view.site())});
  }
  return out;
}

std::vector<Finding> all_findings(const SiteFile& file, const DoctorOptions& options) {
  const control::RunDirView view(options.run_root, file.site);
  const auto reply = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  const auto status = reply ? ipc::parse_status(reply->status) : tl::make_unexpected(reply.error());
  const config::Loaded loaded = config::load(file.path, config::SystemContext(look_at_machine));
  const model::Config* const config = loaded.config ? &*loaded.config : nullptr;
  std::vector<Finding> out = doctor::machine_findings(look_at(config), config, status.has_value());
  const auto add = [&](std::vector<Finding> more) { std::ranges::move(more, std::back_inserter(out)); };
  add(file_findings(loaded, file.path));
  if (status) {
    add(doctor::site_findings(*status));
  } else if (config != nullptr) {
    add(resting_findings(*config, view, options.run_root));
  }
  return out;
}

}  // namespace

int doctor_command(const DoctorOptions& options) {
  const auto named = site_or_only_one(options, "doctor");
  if (!named) return kFailed;
  const std::optional<SiteFile>& file = *named;
  std::vector<Finding> found;
  if (file) {
    found = all_findings(*file, options);
  } else {
    found = doctor::machine_findings(look_at(nullptr), nullptr, false);
    found.push_back({"no-site", Level::kNote, "", "this machine has no site yet", "`bondd init` makes one"});
  }
  if (!options.line.empty()) {
    found = doctor::of_wan(std::move(found), options.line);
    if (found.empty()) {
      say(fmt::format("bondd: there is nothing to say of a WAN {}; `bondd status` lists the WANs",
                      options.line));
      return kFailed;
    }
  }
  fmt::print("{}", options.json ? doctor::json(found) + "\n" : doctor::text(found));
  return doctor::worst(found) <= Level::kNote ? kDone : kFailed;
}

}  // namespace bondd
