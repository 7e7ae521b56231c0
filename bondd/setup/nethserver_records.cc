#include "bondd/setup/nethserver_records.h"

#include <algorithm>
#include <array>
#include <optional>

namespace bondd::setup {
namespace {

using Words = std::vector<std::string>;

constexpr std::string_view kSpaces = " \t\r";

Words split(std::string_view text, std::string_view at) {
  Words out;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(at), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// Properties that are written as they are, under the name that they have in an mlvpn.conf.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kSame = {
    {{"status", "status"},
     {"Password", "password"},
     {"Timeout", "timeout"},
     {"ReorderBuffer", "reorder_buffer_size"},
     {"LossTolerence", "loss_tolerence"},
     {"RemotePeer", "ip4_gateway"},
     {"Nat", "nat"}}};

struct Record {
  std::string name, kind;
  std::size_t line = 0;
  std::vector<ConfEntry> properties;
};

bool is_kind(const std::string& word) {
  return word == "client" || word == "server";
}

// "c1=client", alone or with "|property|value" behind it.
std::optional<Record> head(const std::string& word, std::size_t line) {
  const auto equals = word.find('=');
  if (equals == std::string::npos || equals == 0 || !is_kind(word.substr(equals + 1))) return std::nullopt;
  return Record{word.substr(0, equals), word.substr(equals + 1), line, {}};
}

void add_pairs(Record& record, const Words& words, std::size_t from) {
  for (std::size_t i = from; i + 1 < words.size(); i += 2)
    record.properties.push_back({words[i], words[i + 1], record.line});
}

// What one line holds: a record, a property of the record before, or neither.
struct Line {
  std::optional<Record> record;
  std::optional<ConfEntry> property;
};

Line read_line(const std::string& text, std::size_t number) {
  const Words words = split(text, kSpaces);
  if (words.size() >= 5 && words[0] == "db" && words[1] == "mlvpn" && words[2] == "set" &&
      is_kind(words[4])) {
    Record record{words[3], words[4], number, {}};
    add_pairs(record, words, 5);
    return {std::move(record), {}};
  }
  const Words fields = split(text, "|\r");
  if (fields.empty()) return {};
  const bool indented = kSpaces.find(text.front()) != std::string_view::npos;
  if (auto record = head(indented ? "" : split(fields[0], kSpaces).front(), number)) {
    add_pairs(*record, fields, 1);
    return {std::move(record), {}};
  }
  const auto equals = text.find('=');
  if (!indented || words.empty() || equals == std::string::npos) return {};
  const auto begin = text.find_first_not_of(kSpaces);
  return {
      {},
      ConfEntry{
          text.substr(begin, equals - begin),
          split(text.substr(equals + 1), "\r").empty() ? "" : split(text.substr(equals + 1), "\r").front(),
          number}};
}

void add_property(const ConfEntry& property, const Record& record, ConfSection& general,
                  std::vector<ConfSection>& links) {
  const auto add = [&](std::string key, std::string value) {
    general.entries.push_back({std::move(key), std::move(value), property.line});
  };
  const auto* const same =
      std::ranges::find(kSame, std::string_view(property.key), [](const auto& row) { return row.first; });
  if (same != kSame.end()) return add(std::string(same->second), property.value);
  if (property.key == "Encryption") return add("cleartext_data", property.value == "disabled" ? "1" : "0");
  if (property.key == "LocalPeer") return add("ip4", property.value + "/32");
  if (property.key == "RemoteNetworks") {
    std::string networks = property.value;
    std::ranges::replace(networks, ',', ' ');
    return add("ip4_routes", networks);
  }
  if (property.key != "Connections") return add(property.key, property.value);
  for (const std::string& one : split(property.value, ",")) {
    const Words parts = split(one, ":");
    if (parts.size() != 3) {
      add("Connections", one);
      continue;
    }
    ConfSection& link = links.emplace_back(ConfSection{parts[0], property.line, {}});
    const bool server = record.kind == "server";
    if (!server) link.entries.push_back({"device", parts[0], property.line});
    link.entries.push_back({server ? "bindhost" : "remotehost", parts[1], property.line});
    link.entries.push_back({server ? "bindport" : "remoteport", parts[2], property.line});
  }
}

ConfFile to_conf(const Record& record, std::vector<std::size_t> odd) {
  ConfSection general{
      "general",
      record.line,
      {{"mode", record.kind, record.line}, {"interface_name", "mlvpn" + record.name, record.line}}};
  std::vector<ConfSection> links;
  for (const ConfEntry& property : record.properties) add_property(property, record, general, links);
  ConfFile conf;
  conf.name = record.name;
  conf.is_record = true;
  conf.odd = std::move(odd);
  conf.sections.push_back(std::move(general));
  std::ranges::move(links, std::back_inserter(conf.sections));
  return conf;
}

}  // namespace

bool has_nethserver_records(std::string_view text) {
  const bool sections = text.starts_with("[") || text.find("\n[") != std::string_view::npos;
  return !sections && !parse_nethserver_records(text).empty();
}

std::vector<ConfFile> parse_nethserver_records(std::string_view text) {
  std::vector<Record> records;
  std::vector<std::vector<std::size_t>> odd(1);
  for (const NumberedLine& one : joined_lines(text)) {
    Line line = read_line(one.text, one.number);
    if (line.record) {
      if (!records.empty()) odd.emplace_back();
      records.push_back(std::move(*line.record));
    } else if (line.property && !records.empty()) {
      records.back().properties.push_back(std::move(*line.property));
    } else if (const Words words = split(one.text, kSpaces);
               !words.empty() && words[0] != "signal-event" && !words[0].starts_with('#')) {
      odd.back().push_back(one.number);
    }
  }
  std::vector<ConfFile> out;
  for (std::size_t i = 0; i < records.size(); ++i) out.push_back(to_conf(records[i], std::move(odd[i])));
  return out;
}

}  // namespace bondd::setup
