#include "bondd/main/complete.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "bondd/config/config.h"
#include "bondd/control/run_dir.h"

namespace bondd {
namespace {

namespace fs = std::filesystem;

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

// Options that help shows, with their values' limits left to the command.
std::vector<const CLI::Option*> shown_options(const CLI::App& command) {
  std::vector<const CLI::Option*> out;
  for (const CLI::Option* option : command.get_options({})) {
    if (!option->get_group().empty() && !option->get_lnames().empty()) out.push_back(option);
  }
  return out;
}

// The values of --backend mlvpn|openvpn-bond are in its check's description: "{mlvpn,openvpn-bond}".
std::vector<Candidate> values_of(const CLI::Option& option) {
  std::vector<Candidate> out;
  std::string text = option.get_type_name();
  const std::size_t open = text.find('{'), close = text.find('}');
  if (open == std::string::npos || close == std::string::npos) return out;
  text = text.substr(open + 1, close - open - 1);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    out.push_back({text.substr(begin, comma - begin), ""});
    begin = comma + 1;
  }
  return out;
}

const CLI::Option* option_of(const CLI::App& command, const std::string& word) {
  for (const CLI::Option* option : shown_options(command)) {
    for (const std::string& name : option->get_lnames()) {
      if (word == "--" + name) return option;
    }
  }
  return nullptr;
}

// The place among the command's arguments that the last word of the line takes; null when there is none.
const CLI::Option* positional(const CLI::App& command, const std::vector<std::string>& words) {
  std::vector<const CLI::Option*> places;
  for (const CLI::Option* option : command.get_options({})) {
    if (option->get_positional()) places.push_back(option);
  }
  std::size_t given = 0;
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    const CLI::Option* const before = option_of(command, words[i - 1]);
    const bool value = before != nullptr && before->get_expected_max() > 0;
    if (!words[i].starts_with("-") && !value) ++given;
  }
  return given < places.size() ? places[given] : nullptr;
}

std::vector<Candidate> candidates(const CLI::App& app, const std::vector<std::string>& words,
                                  const std::vector<std::string>& sites) {
  const std::string& current = words.back();
  std::vector<Candidate> out;
  if (words.size() == 1) {
    for (const CLI::App* command : app.get_subcommands({})) {
      if (!command->get_group().empty()) out.push_back({command->get_name(), command->get_description()});
    }
    return out;
  }
  const CLI::App* const command = find_command(app, words.front());
  if (command == nullptr) return {};
  if (words.front() == "help") return candidates(app, {current}, {});
  if (const CLI::Option* before = option_of(*command, words[words.size() - 2]);
      before != nullptr && before->get_expected_max() > 0) {
    return values_of(*before);
  }
  if (current.starts_with("-")) {
    for (const CLI::Option* option : shown_options(*command)) {
      out.push_back({"--" + option->get_lnames().front(), option->get_description()});
    }
    return out;
  }
  if (const CLI::Option* const place = positional(*command, words)) {
    const std::string name = place->get_name(true);
    if (name == "FILE" || name == "NAME" || name == "SITE") {
      for (const std::string& site : sites) out.push_back({site, ""});
    } else {
      out = values_of(*place);
    }
  }
  return out;
}

}  // namespace

std::vector<Candidate> complete(const CLI::App& app, const std::vector<std::string>& words,
                                const std::vector<std::string>& sites) {
  if (words.empty()) return {};
  auto out = candidates(app, words, sites);
  std::erase_if(out, [&](const Candidate& candidate) { return !candidate.word.starts_with(words.back()); });
  for (Candidate& candidate : out) std::replace(candidate.help.begin(), candidate.help.end(), '\n', ' ');
  return out;
}

std::vector<std::string> sites_to_complete(const std::string& directory, const std::string& run_root) {
  const auto with_file = config::SystemContext().sites_beside(fs::path(directory) / "NAME.toml");
  std::set<std::string> sites(with_file.begin(), with_file.end());
  for (std::string& up : control::known_sites(run_root)) sites.insert(std::move(up));
  return {sites.begin(), sites.end()};
}

}  // namespace bondd
