// One value against its key: type, form and range.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "bondd/base/text.h"
#include "bondd/config/reader.h"

namespace bondd::config {
namespace {

constexpr std::size_t kMaxDevice = 15;  // IFNAMSIZ less its NUL
constexpr std::size_t kMaxName = 32;
constexpr std::size_t kMaxHost = 253;  // RFC 1035

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

// As it stands in the file, near enough for a message.
std::string shown(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kText:
      return in_quotes(node.text);
    case Node::Kind::kInteger:
      return fmt::format("{}", node.integer);
    case Node::Kind::kNumber:
      return fmt::format("{}", node.number);
    case Node::Kind::kBool:
      return node.boolean ? "true" : "false";
    case Node::Kind::kDate:
      return "a date";
    case Node::Kind::kArray:
      return "an array";
    case Node::Kind::kTable:
      return "a table";
  }
  return {};
}

std::string with_example(const Key& key) {
  return fmt::format("write for example {} = {}", key.name, key.example);
}

// Parses one value; every function below returns what it takes or says why not.
using Parsed = tl::expected<Value, std::string>;

tl::unexpected<std::string> no(std::string message) {
  return tl::make_unexpected(std::move(message));
}

Parsed not_expected(const Key& key, const Node& node) {
  return no(fmt::format("{} = {} is not {}; {}", key.name, shown(node), expected(key), with_example(key)));
}

Parsed parse_choice(const Key& key, const Node& node) {
  std::vector<std::string_view> choices;
  for (std::string_view rest = key.choices; !rest.empty();) {
    const std::size_t bar = rest.find('|');
    choices.push_back(rest.substr(0, bar));
    rest = bar == std::string_view::npos ? std::string_view{} : rest.substr(bar + 1);
  }
  if (node.kind == Node::Kind::kText &&
      std::find(choices.begin(), choices.end(), node.text) != choices.end()) {
    return node.text;
  }
  const std::string_view meant = likely_meant(node.text, choices);
  return no(fmt::format("{} = {}: write {}{}", key.name, shown(node), expected(key),
                        meant.empty() ? "" : fmt::format("; did you mean \"{}\"?", meant)));
}

Parsed parse_name(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  if (node.text.empty() || node.text.size() > kMaxName || !is_name(node.text) || !is_alnum(node.text[0])) {
    return no(fmt::format("{} = {} is not {}, that begins with a letter or digit; {}", key.name, shown(node),
                          expected(key), with_example(key)));
  }
  return node.text;
}

// See dev_valid_name() in the kernel; more characters than it allows would upset
// shells and iptables ("eth+" is a wildcard there).
std::optional<std::string> wrong_with_device(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kMaxDevice) {
    return fmt::format("has {} characters, a device's name at most {}", name.size(), kMaxDevice);
  }
  if (!is_name(name) || name == "." || name == ".." || name[0] == '-') {
    return "is no device's name: letters, digits, '-', '_' and '.' only";
  }
  return std::nullopt;
}

Parsed parse_device(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  if (const auto wrong = wrong_with_device(node.text)) {
    return no(fmt::format("{} = {} {}; {}", key.name, shown(node), *wrong, with_example(key)));
  }
  return node.text;
}

bool is_host_name(std::string_view text) {
  if (text.empty() || text.size() > kMaxHost) return false;
  bool label_is_empty = true;
  for (const char c : text) {
    if (c == '.') {
      if (label_is_empty) return false;
      label_is_empty = true;
    } else if (is_alnum(c) || c == '_' || (c == '-' && !label_is_empty)) {
      label_is_empty = false;
    } else {
      return false;
    }
  }
  // "203.0.113" or "1.2.3.4.5" is a slip in an address, not a name.
  return text.find_first_not_of("0123456789.") != std::string_view::npos;
}

Parsed parse_host(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  if (parse_ip(node.text) || is_host_name(node.text)) return node.text;
  // Of a web page's address the host is meant.
  if (const std::size_t scheme = node.text.find("://"); scheme != std::string::npos) {
    const std::string host =
        node.text.substr(scheme + 3, node.text.find_first_of("/:?#", scheme + 3) - scheme - 3);
    if (parse_ip(host) || is_host_name(host)) {
      return no(fmt::format("{} = {} is the address of a web page; write the host alone: {} = {}", key.name,
                            shown(node), key.name, in_quotes(host)));
    }
  }
  const std::size_t colon = node.text.rfind(':');
  if (colon != std::string::npos && node.text.find(':') == colon &&
      (parse_ip(node.text.substr(0, colon)) || is_host_name(node.text.substr(0, colon)))) {
    return no(fmt::format("{} = {} has a port; ports belong in [[wan]], here write {} = {}", key.name,
                          shown(node), key.name, in_quotes(node.text.substr(0, colon))));
  }
  return not_expected(key, node);
}

Parsed parse_address(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  const Result<IpAddress> address = parse_ip(node.text);
  if (address && !address->is_unspecified()) return *address;
  if (parse_prefix(node.text)) {
    return no(fmt::format("{} = {} has a network's length; write the address alone: {} = {}", key.name,
                          shown(node), key.name, in_quotes(node.text.substr(0, node.text.find('/')))));
  }
  return not_expected(key, node);
}

Parsed parse_own_prefix(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  const Result<IpPrefix> prefix = parse_prefix(node.text);
  if (!prefix) return not_expected(key, node);
  return *prefix;
}

Parsed parse_network(const Key& key, const Node& node) {
  const auto bad = [&](std::string_view why) {
    return no(fmt::format("{}: {} {}; {}", key.name, shown(node), why, with_example(key)));
  };
  if (node.kind != Node::Kind::kText) return bad("is not a network in quotes");
  if (node.text == "default") return bad("is not known; everything is \"0.0.0.0/0\"");
  const Result<IpPrefix> prefix = parse_prefix(node.text);
  if (!prefix) return bad("is not a network");
  if (prefix->network() != *prefix) {
    return no(fmt::format(
        "{}: {} is an address within a network; write the network, \"{}\", or the address alone, \"{}/{}\"",
        key.name, shown(node), to_string(prefix->network()), to_string(prefix->address),
        prefix->address.bits()));
  }
  return *prefix;
}

std::optional<std::uint16_t> port_number(std::string_view text) {
  unsigned value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && rest == text.data() + text.size();
  if (!whole || value < 1 || value > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

tl::expected<model::PortRange, std::string> port_range(std::string_view text) {
  const std::size_t dash = text.find_first_of("-:");
  if (dash == std::string_view::npos) {
    const auto port = port_number(text);
    if (!port) return no("is not a port from 1 to 65535");
    return model::PortRange{*port, *port};
  }
  const auto first = port_number(text.substr(0, dash));
  const auto last = port_number(text.substr(dash + 1));
  if (!first || !last) return no("is not a range of ports from 1 to 65535 such as \"27000-30000\"");
  if (text[dash] == ':') return no(fmt::format("has a ':'; write \"{}-{}\"", *first, *last));
  if (*first > *last) return no(fmt::format("runs backwards; write \"{}-{}\"", *last, *first));
  return model::PortRange{*first, *last};
}

Parsed parse_ports(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText && node.kind != Node::Kind::kInteger) return not_expected(key, node);
  const auto range = port_range(node.kind == Node::Kind::kText ? node.text : fmt::format("{}", node.integer));
  if (!range) return no(fmt::format("{} = {} {}", key.name, shown(node), range.error()));
  return *range;
}

// "ADDRESS", "ADDRESS:PORTS" or "[ADDRESS]:PORTS".
struct TargetText {
  IpAddress address;
  std::optional<std::string_view> ports;
};

std::optional<TargetText> split_target(std::string_view text) {
  std::optional<std::string_view> ports;
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    const std::string_view rest = text.substr(bracket + 1);
    if (rest.starts_with(':')) ports = rest.substr(1);
    if (!ports && !rest.empty()) return std::nullopt;
    text = text.substr(1, bracket - 1);
  } else if (!parse_ip(text)) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    ports = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  const Result<IpAddress> address = parse_ip(text);
  return address ? std::optional(TargetText{*address, ports}) : std::nullopt;
}

Parsed parse_target(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  const auto text = split_target(node.text);
  if (!text || text->address.is_unspecified()) return not_expected(key, node);
  Target target{text->address, std::nullopt};
  if (text->ports) {
    const auto range = port_range(*text->ports);
    if (!range)
      return no(fmt::format("{} = {}: {} {}", key.name, shown(node), in_quotes(*text->ports), range.error()));
    target.port = *range;
  }
  return target;
}

Parsed parse_listen(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  const auto text = split_target(node.text);
  const auto port = text && text->ports ? port_number(*text->ports) : std::nullopt;
  if (!port) return not_expected(key, node);
  return Target{text->address, model::PortRange{*port, *port}};
}

bool in_range(const Key& key, double value) {
  return value >= key.min && value <= key.max;  // false for NaN
}

Parsed parse_whole(const Key& key, const Node& node) {
  if (node.kind == Node::Kind::kInteger && in_range(key, node.number)) return node.integer;
  if (node.kind == Node::Kind::kText && !node.text.empty() && node.text.size() < 10 &&
      node.text.find_first_not_of("0123456789") == std::string::npos) {
    return no(fmt::format("{} = {} is text; write the number without quotes: {} = {}", key.name, shown(node),
                          key.name, node.text));
  }
  return not_expected(key, node);
}

Parsed parse_count(const Key& key, const Node& node) {
  if (node.kind == Node::Kind::kText && node.text == "auto") return node.text;
  return parse_whole(key, node);
}

Parsed parse_number(const Key& key, const Node& node) {
  const bool number = node.kind == Node::Kind::kInteger || node.kind == Node::Kind::kNumber;
  if (number && in_range(key, node.number)) return node.number;
  return not_expected(key, node);
}

Parsed parse_mask(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return parse_whole(key, node);
  const bool hex = node.text.starts_with("0x") || node.text.starts_with("0X");
  const char* const begin = node.text.data() + (hex ? 2 : 0);
  const char* const end = node.text.data() + node.text.size();
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value, hex ? 16 : 10);
  if (error != std::errc() || stop != end || !in_range(key, static_cast<double>(value)))
    return not_expected(key, node);
  return value;
}

Parsed parse_time(const Key& key, const Node& node) {
  if (node.kind == Node::Kind::kInteger || node.kind == Node::Kind::kNumber) {
    return no(fmt::format("{} = {} has no unit; write it as text with ms, s, m or h, for example {} = {}",
                          key.name, shown(node), key.name, key.example));
  }
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  const Result<Duration> duration = parse_duration(node.text);
  if (!duration) return no(fmt::format("{}: {}", key.name, duration.error().message));
  const double ms = to_ms(*duration);
  if (!in_range(key, ms)) return not_expected(key, node);
  if (*duration % std::chrono::milliseconds(1) != Duration::zero()) {
    return no(fmt::format("{} = {} is finer than a millisecond", key.name, shown(node)));
  }
  return *duration;
}

Parsed parse_line_rate(const Key& key, const Node& node) {
  if (node.kind == Node::Kind::kInteger || node.kind == Node::Kind::kNumber) {
    return no(
        fmt::format("{} = {} has no unit; write it as text with kbit, mbit or gbit, for example {} = {}",
                    key.name, shown(node), key.name, key.example));
  }
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  const Result<Rate> rate = parse_rate(node.text);
  if (!rate) return no(fmt::format("{}: {}", key.name, rate.error().message));
  return *rate;
}

Parsed parse_bool(const Key& key, const Node& node) {
  if (node.kind == Node::Kind::kBool) return node.boolean;
  if (node.kind == Node::Kind::kText && (node.text == "true" || node.text == "false")) {
    return no(fmt::format("{} = {} is text; write it without quotes: {} = {}", key.name, shown(node),
                          key.name, node.text));
  }
  return not_expected(key, node);
}

Parsed parse_file(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText || node.text.empty()) return not_expected(key, node);
  if (node.text.find('\0') != std::string::npos || node.text.size() > 4000) return not_expected(key, node);
  return node.text;
}

// Any mix of colons, spaces and cases, as OpenSSL, OpenVPN and browsers print it;
// "sha256 Fingerprint=" of `openssl x509 -fingerprint` too. Gives "AB:CD:…".
Parsed parse_fingerprint(const Key& key, const Node& node) {
  if (node.kind != Node::Kind::kText) return not_expected(key, node);
  std::string_view text = node.text;
  if (const std::size_t equals = text.find('='); equals != std::string_view::npos) {
    text = text.substr(equals + 1);
  }
  std::string out;
  int digits = 0;
  for (const char c : text) {
    if (c == ':' || c == ' ') continue;
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!hex || digits == 64) return not_expected(key, node);
    if (digits > 0 && digits % 2 == 0) out += ':';
    out += c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
    ++digits;
  }
  if (digits != 64) return not_expected(key, node);
  return out;
}

Parsed parse_tables(const Key& key, const Node& node) {
  const auto is_table = [](const Node& item) { return item.kind == Node::Kind::kTable; };
  const bool fits = node.kind == Node::Kind::kArray && !node.items.empty() &&
                    std::all_of(node.items.begin(), node.items.end(), is_table);
  if (!fits)
    return no(fmt::format("{} must be an array of at least one table; {}", key.name, with_example(key)));
  return true;
}

Parsed parse_one(const Key& key, const Node& node) {
  switch (key.type) {
    case Type::kChoice:
      return parse_choice(key, node);
    case Type::kName:
      return parse_name(key, node);
    case Type::kDevice:
    case Type::kDevices:
      return parse_device(key, node);
    case Type::kHost:
      return parse_host(key, node);
    case Type::kAddress:
      return parse_address(key, node);
    case Type::kPrefix:
      return parse_own_prefix(key, node);
    case Type::kNetworks:
      return parse_network(key, node);
    case Type::kTarget:
      return parse_target(key, node);
    case Type::kListen:
      return parse_listen(key, node);
    case Type::kPort:
    case Type::kInteger:
      return parse_whole(key, node);
    case Type::kPorts:
      return parse_ports(key, node);
    case Type::kDuration:
      return parse_time(key, node);
    case Type::kRate:
      return parse_line_rate(key, node);
    case Type::kNumber:
      return parse_number(key, node);
    case Type::kMask:
      return parse_mask(key, node);
    case Type::kCount:
      return parse_count(key, node);
    case Type::kBool:
      return parse_bool(key, node);
    case Type::kFile:
      return parse_file(key, node);
    case Type::kFingerprint:
      return parse_fingerprint(key, node);
    case Type::kTables:
      return parse_tables(key, node);
  }
  return not_expected(key, node);
}

// The items of an array; those that are mistaken are left out and reported.
template <typename T>
std::optional<Value> parse_items(const Key& key, const Node& node, std::vector<Mistake>* mistakes) {
  std::vector<T> values;
  bool all_fit = true;
  for (const Node& item : node.items) {
    Parsed parsed = parse_one(key, item);
    if (parsed) {
      values.push_back(std::get<T>(*std::move(parsed)));
    } else {
      all_fit = false;
      if (mistakes != nullptr) mistakes->push_back({item.position, std::move(parsed.error())});
    }
  }
  return all_fit ? std::optional<Value>(std::move(values)) : std::nullopt;
}

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMaxShown = 60;
  std::string out = "\"";
  for (const char c : text.substr(0, kMaxShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  if (text.size() > kMaxShown) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0x80) != 0) out.pop_back();
    out += "…";
  }
  return out + "\"";
}

std::optional<Value> parse_value(const Key& key, const Node& node, std::vector<Mistake>* mistakes) {
  const bool list = key.type == Type::kDevices || key.type == Type::kNetworks;
  if (list && node.kind == Node::Kind::kArray) {
    return key.type == Type::kDevices ? parse_items<std::string>(key, node, mistakes)
                                      : parse_items<IpPrefix>(key, node, mistakes);
  }
  Parsed parsed = list ? not_expected(key, node) : parse_one(key, node);
  if (parsed) return *std::move(parsed);
  if (mistakes != nullptr) mistakes->push_back({node.position, std::move(parsed.error())});
  return std::nullopt;
}

}  // namespace bondd::config
