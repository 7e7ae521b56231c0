#include "bondd/problems/peer_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace bondd::problems {
namespace {

constexpr std::string_view kFirstLine = "bondd-settings 1";
constexpr std::size_t kMostText = 64;      // bytes of a name or a value
constexpr std::size_t kMostNetworks = 16;  // of each kind

bool printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// The next word of `line`, cut off it; "" when there is none or it is not as it should be.
std::string_view take_word(std::string_view& line) {
  const auto end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word.size() <= kMostText && printable(word) ? word : std::string_view();
}

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void take_wan(std::string_view line, PeerSettings& out) {
  PeerSettings::Wan wan;
  const auto port = number<std::uint16_t>(take_word(line));
  wan.name = take_word(line);
  wan.capacity_mbit = number<double>(take_word(line));
  if (wan.capacity_mbit && !(*wan.capacity_mbit > 0 && *wan.capacity_mbit < 1e6)) wan.capacity_mbit.reset();
  if (!port || wan.name.empty() || out.wans.size() >= kMostPeerWans) return;
  wan.port = *port;
  out.wans.push_back(wan);
}

// `out` has its WANs first, see render().
PeerSettings::Wan* with_port(PeerSettings& out, std::optional<std::uint16_t> port) {
  return port ? const_cast<PeerSettings::Wan*>(std::as_const(out).with_port(*port)) : nullptr;
}

void take_network(std::string_view line, std::vector<IpPrefix>& out) {
  const auto network = parse_prefix(take_word(line));
  if (network && out.size() < kMostNetworks) out.push_back(*network);
}

// Lines "KEY PORT".
struct WanFlag {
  std::string_view key;
  bool PeerSettings::Wan::*value;
};
constexpr std::array<WanFlag, 3> kWanFlags{{{"unheard", &PeerSettings::Wan::unheard},
                                            {"undecryptable", &PeerSettings::Wan::undecryptable},
                                            {"drained", &PeerSettings::Wan::drained}}};

void take_service(std::string_view line, PeerSettings& out) {
  const std::string_view protocol = take_word(line);
  const auto to = parse_ip(std::string(take_word(line)));
  const auto port = number<std::uint16_t>(take_word(line));
  if ((protocol != "tcp" && protocol != "udp") || !to || port.value_or(0) == 0) return;
  if (out.services.size() >= kMostNetworks) return;
  const auto proto = protocol == "tcp" ? model::Protocol::kTcp : model::Protocol::kUdp;
  out.services.push_back({proto, {*port, *port}, *to, std::nullopt});
}

void take_speed_test(std::string_view line, PeerSettings& out) {
  const std::string_view token = take_word(line);
  const auto port = number<std::uint16_t>(take_word(line));
  if (token.size() != kSpeedTestToken || !port) return;
  if (token.find_first_not_of("0123456789abcdef") != std::string_view::npos) return;
  out.speed_test = {std::string(token), *port};
}

void take_speed_test_ready(std::string_view line, PeerSettings& out) {
  const auto listens = number<std::uint16_t>(take_word(line));
  const auto port = number<std::uint16_t>(take_word(line));
  const std::string_view test = take_word(line);
  if (listens.value_or(0) != 0 && port) out.speed_test_ready = {*listens, *port, std::string(test)};
}

void take_line(std::string_view line, PeerSettings& out) {
  const std::string_view key = take_word(line);
  if (key == "role") {
    out.role = take_word(line);
  } else if (key == "same") {
    const std::string_view name = take_word(line);
    const std::string_view value = take_word(line);
    if (!name.empty() && !value.empty() && out.same.size() < kMostNetworks)
      out.same[std::string(name)] = value;
  } else if (key == "wan") {
    take_wan(line, out);
  } else if (key == "tunnels") {
    const auto port = number<std::uint16_t>(take_word(line));
    const auto count = number<unsigned>(take_word(line));
    if (auto* const wan = with_port(out, port)) wan->tunnels = count.value_or(0);
  } else if (const auto flag = std::ranges::find(kWanFlags, key, &WanFlag::key); flag != kWanFlags.end()) {
    const auto port = number<std::uint16_t>(take_word(line));
    if (auto* const wan = with_port(out, port)) wan->*flag->value = true;
  } else if (key == "ends") {
    out.address = take_word(line);
    out.peer = take_word(line);
  } else if (key == "network") {
    take_network(line, out.networks);
  } else if (key == "through") {
    take_network(line, out.through_bond);
  } else if (key == "nat") {
    const std::string_view device = take_word(line);
    if (!device.empty() && out.masquerade.size() < kMostNetworks) out.masquerade.emplace_back(device);
  } else if (key == "service") {
    take_service(line, out);
  } else if (key == "out") {
    out.way_out = take_word(line);
  } else if (key == "speedtests") {
    out.takes_speed_tests = true;
  } else if (key == "speedtest") {
    take_speed_test(line, out);
  } else if (key == "speedtest-ready") {
    take_speed_test_ready(line, out);
  }
}

}  // namespace

const PeerSettings::Wan* PeerSettings::with_port(std::uint16_t port) const {
  const auto found = std::ranges::find(wans, port, &Wan::port);
  return found == wans.end() ? nullptr : &*found;
}

std::string speed_test_name(const std::string& token) {
  return token.substr(0, 8);
}

std::string render(const PeerSettings& settings) {
  std::string text(kFirstLine);
  const auto add = [&text](const std::string& line) {
    if (text.size() + 1 + line.size() <= kMostSettingsBytes) text += "\n" + line;
  };
  add("role " + settings.role);
  if (settings.takes_speed_tests) add("speedtests");
  if (const auto& test = settings.speed_test)
    add(fmt::format("speedtest {} {}", test->token, test->wan_port));
  if (const auto& ready = settings.speed_test_ready)
    add(fmt::format("speedtest-ready {} {} {}", ready->listens, ready->wan_port, ready->test));
  for (const auto& [key, value] : settings.same) add(fmt::format("same {} {}", key, value));
  for (const auto& wan : settings.wans) {
    add(fmt::format("wan {} {}{}", wan.port, wan.name,
                    wan.capacity_mbit ? fmt::format(" {:.2f}", *wan.capacity_mbit) : ""));
  }
  for (const auto& wan : settings.wans) {
    for (const WanFlag& flag : kWanFlags) {
      if (wan.*flag.value) add(fmt::format("{} {}", flag.key, wan.port));
    }
    if (wan.tunnels != 0) add(fmt::format("tunnels {} {}", wan.port, wan.tunnels));
  }
  if (!settings.address.empty()) add(fmt::format("ends {} {}", settings.address, settings.peer));
  for (const std::string& device : settings.masquerade) add("nat " + device);
  if (!settings.way_out.empty()) add("out " + settings.way_out);
  for (const IpPrefix& network : settings.networks) add("network " + to_string(network));
  for (const IpPrefix& network : settings.through_bond) add("through " + to_string(network));
  for (const model::Forward& service : settings.services) {
    add(fmt::format("service {} {} {}", name(service.proto), to_string(service.to), service.port.first));
  }
  return text;
}

std::optional<PeerSettings> parse_peer_settings(std::string_view text) {
  if (text.size() > kMostSettingsBytes || !text.starts_with(kFirstLine)) return std::nullopt;
  text.remove_prefix(kFirstLine.size());
  if (!text.empty() && text.front() != '\n') return std::nullopt;
  PeerSettings out;
  while (!text.empty()) {
    text.remove_prefix(1);
    const auto end = std::min(text.find('\n'), text.size());
    take_line(text.substr(0, end), out);
    text.remove_prefix(end);
  }
  return out;
}

}  // namespace bondd::problems
