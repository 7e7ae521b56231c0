// `bondd diag`: what is needed to understand a site from far away, in one archive. All texts are gathered
// first, then secrets are removed from each, and only then is anything written.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <thread>

#include "bondd/base/file.h"
#include "bondd/control/run_dir.h"
#include "bondd/ipc/messages.h"
#include "bondd/main/ask_sites.h"
#include "bondd/main/redact.h"
#include "bondd/main/site_file.h"
#include "bondd/main/tools.h"
#include "bondd/supervise/run_program.h"

namespace bondd {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto kProgramLimit = 30s;  // `plan` and `doctor` test lines
constexpr auto kWatchEvery = 1s;
constexpr std::size_t kLogTail = 1U << 20U;         // bytes: a day of a site in trouble
constexpr std::uintmax_t kLargestSecret = 1 << 16;  // bytes; a key or a password is far smaller
constexpr const char* kJournalLines = "5000";

constexpr const char* kReadMe =
    "What `bondd diag` found, for a bug report. Keys, passwords and tokens were removed; have a look all "
    "the\n"
    "same before you send it. Each *.txt begins with the command that printed it.\n";

struct Text {
  std::string name;
  std::string content;
};

// What a command prints, as somebody at the terminal would see it.
std::string output_of(const std::vector<std::string>& argv, const std::vector<std::string>& shown) {
  std::string out = fmt::format("$ {}\n", fmt::join(shown, " "));
  const auto ran = supervise::run_program(argv, {}, kProgramLimit);
  if (!ran) return out + ran.error().message + "\n";
  out += ran->output + ran->errors;
  return ran->ok() ? out : out + fmt::format("(exit status {})\n", ran->status);
}

std::vector<Text> of_machine() {
  utsname name{};
  uname(&name);
  std::vector<Text> out;
  out.push_back(
      {"machine.txt", fmt::format("bondd {}\n{} {} {}\n{}", BONDD_VERSION, name.sysname, name.release,
                                  name.machine, read_file("/etc/os-release").value_or(""))});
  const auto add = [&](const char* file, std::vector<std::vector<std::string>> commands) {
    std::string text;
    for (const auto& command : commands) text += output_of(command, command) + "\n";
    out.push_back({file, std::move(text)});
  };
  add("links.txt", {{"ip", "-d", "-s", "link"}, {"ip", "addr"}, {"ip", "neigh"}});
  add("routes.txt", {{"ip", "rule"}, {"ip", "route", "show", "table", "all"}, {"ip", "-6", "rule"}});
  add("firewall.txt", {{"iptables", "--version"}, {"iptables-save", "-c"}, {"nft", "list", "ruleset"}});
  add("sockets.txt", {{"ss", "-uanp"}});
  add("settings.txt", {{"sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter",
                        "net.ipv4.conf.default.rp_filter", "net.ipv4.conf.all.src_valid_mark"}});
  return out;
}

// bondd's own commands, of this very program.
std::vector<Text> of_site(const SiteFile& site, const DiagOptions& options) {
  const auto own = [&](std::vector<std::string> words) {
    words.push_back(site.path.native());
    std::vector<std::string> argv = {"/proc/self/exe", "--run-dir", options.run_root.native()};
    argv.insert(argv.end(), words.begin(), words.end());
    words.insert(words.begin(), "bondd");
    return output_of(argv, words);
  };
  std::vector<Text> out;
  out.push_back({site.path.filename().native(), read_file(site.path).value_or("(cannot be read)\n")});
  out.push_back({"check.txt", own({"check"})});
  out.push_back({"effective.txt", own({"config", "--effective"})});
  out.push_back({"status.txt", own({"status", "--json"})});
  out.push_back({"doctor.txt", own({"doctor", "--json"})});
  out.push_back({"plan.txt", own({"plan"})});
  const control::RunDirView view(options.run_root, site.site);
  std::string log = control::read_small_file(view.log()).value_or("(there is no log)\n");
  if (log.size() > kLogTail) log.erase(0, log.size() - kLogTail);
  out.push_back({"log.txt", std::move(log)});
  const std::vector<std::string> journal = {"journalctl",  "--no-pager", "-n",
                                            kJournalLines, "-u",         fmt::format("bondd@{}", site.site)};
  out.push_back({"journal.txt", output_of(journal, journal)});
  return out;
}

// A status a second, one JSON object a line.
Text watched(const control::RunDirView& view, Duration watch) {
  say(fmt::format("bondd: looking at {} for {}", view.site(), format_duration(watch)));
  Text out{"status-each-second.jsonl", {}};
  const auto end = std::chrono::steady_clock::now() + watch;
  while (std::chrono::steady_clock::now() < end) {
    const auto status = ask_running(view);
    const std::string line = status ? ipc::status_json(*status) : "null";
    out.content +=
        fmt::format("{{\"time\":\"{}\",\"status\":{}}}\n", model::time_text(std::time(nullptr)), line);
    std::this_thread::sleep_for(kWatchEvery);
  }
  return out;
}

// Every file of the site that may hold a secret: those that its file names, and whatever lies beside it.
void add_secrets(const SiteFile& site, Redactor& redactor) {
  std::vector<fs::path> files;
  if (const auto read = read_site_file(site.path)) {
    std::ranges::copy(model::secret_files(read->config.openvpn), std::back_inserter(files));
    files.push_back(read->config.mlvpn.password_file);
    if (!read->config.mlvpn.key_file.empty()) files.push_back(read->config.mlvpn.key_file);
    redactor.add_name(read->config.server.address, "the-server");
  }
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(site.path.parent_path(), ignored)) {
    const std::string name = entry.path().filename().native();
    const bool site_file = name.find(".toml") != std::string::npos;
    if (entry.is_regular_file(ignored) && !site_file && entry.file_size(ignored) <= kLargestSecret)
      files.push_back(entry.path());
  }
  for (const fs::path& file : files) {
    if (const auto content = read_file(file, kLargestSecret)) redactor.add_secret(*content);
  }
}

Result<> write_archive(const std::vector<Text>& texts, const fs::path& archive) {
  const fs::path path = fs::absolute(archive);
  std::string made = (fs::temp_directory_path() / "bondd-diag-XXXXXX").native();
  if (mkdtemp(made.data()) == nullptr) return errno_failure("cannot make a directory for the archive");
  const std::string name = path.filename().native().substr(0, path.filename().native().find(".tar"));
  const fs::path folder = fs::path(made) / name;
  const mode_t before = umask(077);
  std::error_code failed;
  fs::create_directory(folder, failed);
  for (const Text& text : texts) std::ofstream(folder / text.name, std::ios::binary) << text.content;
  auto ran = supervise::run_program({"tar", "-C", made, "-czf", path.native(), name}, {}, kProgramLimit);
  umask(before);
  fs::remove_all(made, failed);
  if (!ran) return tl::make_unexpected(ran.error());
  if (!ran->ok()) return failure(fmt::format("{} cannot be written: {}", path.native(), ran->errors));
  return {};
}

fs::path archive_name(const std::string& site) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return fmt::format("bondd-{}-{:04}{:02}{:02}-{:02}{:02}{:02}.tar.gz", site, local.tm_year + 1900,
                     local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
}

}  // namespace

int diag_command(const DiagOptions& options) {
  const auto named = site_or_only_one(options, "diag");
  if (!named) return kFailed;
  const std::optional<SiteFile>& site = *named;
  if (site && !is_site(*site, options.run_root)) return kFailed;
  Redactor redactor(options.anonymise);
  std::vector<Text> texts = {{"README", kReadMe}};
  if (site) {
    add_secrets(*site, redactor);
    const control::RunDirView view(options.run_root, site->site);
    if (options.watch > Duration(0)) texts.push_back(watched(view, options.watch));
    std::ranges::move(of_site(*site, options), std::back_inserter(texts));
  }
  std::ranges::move(of_machine(), std::back_inserter(texts));
  for (Text& text : texts) text.content = redactor.clean(text.content);
  const fs::path archive = options.out.empty() ? archive_name(site ? site->site : "machine") : options.out;
  if (auto written = write_archive(texts, archive); !written) return say_error(written.error()), kFailed;
  if (geteuid() != 0) say("bondd: as root it tells more: the log and the firewall");
  say("keys, passwords and tokens were removed; have a look all the same before you send it");
  fmt::print("{}\n", archive.native());
  return kDone;
}

}  // namespace bondd
