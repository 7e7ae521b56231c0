#include "bondd/setup/updown_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "bondd/base/text.h"

namespace bondd::setup {
namespace {

using Words = std::vector<std::string>;

// Words of the shell that do nothing to the network.
constexpr std::array<std::string_view, 25> kShell = {
    "if",   "elif",  "else", "fi",     "then", "case", "esac", "for",    "do",
    "done", "while", "exit", "return", "trap", "echo", "true", "logger", "printf",
    "date", "set",   ";;",   "(",      ")",    "{",    "}"};

Words words_of(std::string_view line) {
  Words out;
  while (!(line = trimmed(line)).empty()) {
    const auto end = std::min(line.find_first_of(" \t"), line.size());
    std::string word(line.substr(0, end));
    line.remove_prefix(end);
    std::erase(word, '"');
    std::erase(word, '\'');
    if (word.starts_with("#")) break;
    if (!word.empty()) out.push_back(std::move(word));
  }
  return out;
}

// The word behind `key`; empty if there is none.
std::string after(const Words& words, std::string_view key) {
  const auto found = std::ranges::find(words, key);
  return found == words.end() || found + 1 == words.end() ? std::string() : *(found + 1);
}

bool has(const Words& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

std::optional<unsigned> mask_length(const std::string& mask) {
  const auto address = parse_ip(mask);
  if (!address || !address->is_v4()) return std::nullopt;
  return static_cast<unsigned>(std::popcount(address->v4_number()));
}

std::optional<IpPrefix> network_of(const std::string& word, const std::string& mask) {
  std::string text = word == "default" ? "0.0.0.0/0" : word;
  if (text.find('/') == std::string::npos) {
    const auto length = mask.empty() ? 32U : mask_length(mask).value_or(32U);
    text += fmt::format("/{}", length);
  }
  const auto prefix = parse_prefix(text);
  return prefix ? std::optional(prefix->network()) : std::nullopt;
}

class Reader {
 public:
  UpdownScript read(std::string_view text) {
    for (const NumberedLine& one : joined_lines(text)) {
      line_ = one.number;
      line(one.text);
    }
    return std::move(out_);
  }

 private:
  void remark(std::string text) { out_.remarks.push_back({line_, std::move(text)}); }

  void line(std::string_view text) {
    for (const std::string_view state : {"tuntap_up", "tuntap_down", "rtun_up", "rtun_down"}) {
      if (text.find(state) != std::string_view::npos) state_ = state;
    }
    Words words = words_of(text);
    while (!words.empty() && words.front() == "sudo") words.erase(words.begin());
    if (words.empty()) return;
    std::string& program = words.front();
    if (const auto slash = program.rfind('/'); slash != std::string::npos && program[0] == '/')
      program.erase(0, slash + 1);
    const bool assigns = program.find('=') != std::string::npos;
    const bool branch = program.ends_with(")") || program.starts_with("[") || program.starts_with(")");
    if (assigns || branch || std::ranges::find(kShell, program) != kShell.end()) return;
    command(words);
  }

  void command(const Words& words) {
    const std::string& program = words.front();
    const bool goes = has(words, "del") || has(words, "delete") || has(words, "flush") || has(words, "-D");
    if (state_.ends_with("_down") && (goes || program == "ifconfig")) return;  // bondd removes what it made
    if (state_.starts_with("rtun")) {
      // A line that comes or goes changes nothing of the bond.
    } else if (program == "ip" && words.size() > 2) {
      if (ip(words)) return;
    } else if (program == "ifconfig") {
      if (ifconfig(words)) return;
    } else if (program == "route") {
      if (route(words)) return;
    } else if (program == "iptables" && has(words, "MASQUERADE") && !after(words, "-o").empty()) {
      add_masquerade(after(words, "-o"));
      return;
    } else if (program == "sysctl" && std::ranges::any_of(words, [](const std::string& word) {
                 return word.starts_with("net.ipv4.ip_forward");
               })) {
      return;  // bondd switches it on
    }
    const bool of_line = state_.starts_with("rtun");
    remark(fmt::format("{}: not supported: bondd runs no script when {}; is it still needed?", program,
                       of_line ? "a line comes or goes" : "the bond comes up or goes down"));
  }

  bool ip(const Words& words) {
    const std::string& object = words[1];
    if (object == "link" || object == "l") {
      if (!after(words, "mtu").empty()) mtu();
      return true;  // bondd makes the device and sets it up
    }
    const bool adds = has(words, "add") || has(words, "replace");
    if (!adds) return false;
    if (object.starts_with("a")) return address(after(words, has(words, "add") ? "add" : "replace"), words);
    if (object != "route" && object != "r" && object != "ro") return false;
    if (!after(words, "table").empty()) return false;  // steering of the admin's own
    if (!after(words, "mtu").empty()) mtu();
    // "proto static" and the like may stand before the network.
    for (auto word = words.begin() + 3; word < words.end(); ++word) {
      if (*word == "proto" || *word == "scope" || *word == "metric") {
        ++word;
        continue;
      }
      return add_network(*word, "");
    }
    return false;
  }

  bool address(const std::string& word, const Words& words) {
    const auto prefix = parse_prefix(word.find('/') == std::string::npos ? word + "/32" : word);
    if (!prefix) return false;
    out_.address = *prefix;
    if (const auto peer = parse_ip(after(words, "peer"))) out_.peer = *peer;
    return true;
  }

  // ifconfig DEVICE ADDRESS [PEER] [netmask MASK] [mtu N] [pointopoint PEER] [up]
  bool ifconfig(const Words& words) {
    if (words.size() < 3) return false;
    if (!after(words, "mtu").empty()) mtu();
    const auto own = parse_ip(words[2]);
    if (!own) return words[2] == "up" || words[2] == "mtu";
    const auto length = mask_length(after(words, "netmask"));
    out_.address = IpPrefix{*own, static_cast<int>(length.value_or(32U))};
    auto peer = parse_ip(after(words, "pointopoint"));
    if (!peer && words.size() > 3) peer = parse_ip(words[3]);
    if (peer) out_.peer = *peer;
    return true;
  }

  // route add [-net|-host] TARGET [netmask MASK] [gw GATEWAY] [dev DEVICE]
  bool route(const Words& words) {
    if (!has(words, "add")) return false;
    for (const std::string_view key : {"-net", "-host", "add"}) {
      const std::string target = after(words, key);
      if (target.empty() || target.starts_with("-")) continue;
      return add_network(target, after(words, "netmask"));
    }
    return false;
  }

  bool add_network(const std::string& word, const std::string& mask) {
    const auto network = network_of(word, mask);
    if (!network) {
      remark(fmt::format("a route to {}: write its address into through_bond of [routes]", word));
      return true;
    }
    if (std::ranges::find(out_.networks, *network) == out_.networks.end()) out_.networks.push_back(*network);
    return true;
  }

  void add_masquerade(const std::string& device) {
    if (std::ranges::find(out_.masquerade, device) == out_.masquerade.end())
      out_.masquerade.push_back(device);
  }

  void mtu() { remark("mtu: left out: bondd computes what fits the lines"); }

  UpdownScript out_;
  std::size_t line_ = 1;
  std::string_view state_ = "tuntap_up";
};

}  // namespace

UpdownScript parse_updown_script(std::string_view text) {
  return Reader().read(text);
}

}  // namespace bondd::setup
