#include "bondd/config/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bondd/base/text.h"

namespace bondd::config {
namespace {

const Node kNoTable;  // what an absent table is

// "[bond]"; the part before the first table has no name.
std::string place(const Table& table) {
  return table.name.empty() ? "the file" : header(table);
}

std::string_view side_name(Side side) {
  return side == Side::kClient ? "client" : "server";
}

// Tables that stand at the top of a file.
std::vector<std::string_view> top_tables() {
  std::vector<std::string_view> names;
  for (const Table& table : tables()) {
    if (!table.name.empty() && table.name.find('.') == std::string_view::npos) names.push_back(table.name);
  }
  return names;
}

std::vector<std::string_view> keys_of(const Table& table) {
  std::vector<std::string_view> names;
  for (const Key& key : keys()) {
    if (key.table == table.name) names.push_back(key.name);
  }
  return names;
}

// Tables other than `here` that have a key of that name: `[[wan]]`.
std::string elsewhere(std::string_view key, const Table& here) {
  std::string places;
  for (const Table& table : tables()) {
    if (&table == &here || find_key(table.name, key) == nullptr) continue;
    if (!places.empty()) places += " or ";
    places += table.name.empty() ? "the top of the file, before the first table" : header(table);
  }
  return places;
}

std::string list(const std::vector<std::string_view>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

// What other programs call a key: the table, their word, ours.
constexpr std::array<std::array<std::string_view, 3>, 14> kOtherWords{{{"wan", "interface", "device"},
                                                                       {"wan", "dev", "device"},
                                                                       {"wan", "iface", "device"},
                                                                       {"wan", "gw", "gateway"},
                                                                       {"wan", "router", "gateway"},
                                                                       {"wan", "address", "bind"},
                                                                       {"bond", "device", "interface"},
                                                                       {"bond", "dev", "interface"},
                                                                       {"bond", "name", "interface"},
                                                                       {"server", "host", "address"},
                                                                       {"server", "ip", "address"},
                                                                       {"mlvpn", "password", "password_file"},
                                                                       {"nat", "device", "masquerade"},
                                                                       {"nat", "interface", "masquerade"}}};

std::string_view other_word(std::string_view table, std::string_view key) {
  for (const auto& [where, theirs, ours] : kOtherWords) {
    if (where == table && theirs == key) return ours;
  }
  return {};
}

std::string unknown_key(std::string_view key, const Table& here) {
  const std::string start = fmt::format("unknown key {} in {}", in_quotes(key), place(here));
  const std::vector<std::string_view> known = keys_of(here);
  if (const std::string_view meant = likely_meant(key, known); !meant.empty()) {
    return fmt::format("{}; did you mean \"{}\"?", start, meant);
  }
  if (const std::string_view meant = other_word(here.name, key); !meant.empty())
    return fmt::format("{}; did you mean \"{}\"?", start, meant);
  if (const std::string places = elsewhere(key, here); !places.empty()) {
    return fmt::format("{}; it belongs in {}", start, places);
  }
  return fmt::format("{}; known here: {}", start, list(known));
}

class Checker {
 public:
  Checker(const Sections& sections, Report& report) : sections_(sections), report_(report) {}

  void run() {
    for (const Entry& entry : sections_.root.node().entries) check_top(entry);
    check_missing_keys(sections_.root);
    for (const Table& table : tables()) check_missing_table(table);
  }

 private:
  // Before the first table there are keys and tables.
  void check_top(const Entry& entry) {
    const Table* const table = entry.key.empty() ? nullptr : find_table(entry.key);
    const bool nested = entry.key.find('.') != std::string::npos;
    if (table != nullptr && !nested) {
      check_table(*table, entry);
    } else if (const Key* const key = find_key("", entry.key)) {
      check_value(*key, entry.value);
    } else {
      report_.error(entry.position, unknown_at_top(entry));
    }
  }

  static std::string unknown_at_top(const Entry& entry) {
    const bool is_table = entry.value.kind == Node::Kind::kTable ||
                          (entry.value.kind == Node::Kind::kArray && !entry.value.items.empty() &&
                           entry.value.items[0].kind == Node::Kind::kTable);
    if (!is_table) return unknown_key(entry.key, *find_table(""));
    const std::vector<std::string_view> known = top_tables();
    const std::string start = fmt::format("unknown table {}", in_quotes(entry.key));
    if (const std::string_view meant = likely_meant(entry.key, known); !meant.empty()) {
      return fmt::format("{}; did you mean {}?", start, header(*find_table(meant)));
    }
    return fmt::format("{}; known are {}", start, list(known));
  }

  void check_table(const Table& table, const Entry& entry) {
    const Node& node = entry.value;
    if (!includes(table.side, sections_.side) && sections_.side != Side::kNone) {
      report_.error(entry.position,
                    fmt::format("{} belongs in the {}'s file; here role is \"{}\"", header(table),
                                side_name(table.side), side_name(sections_.side)));
    }
    if (!table.array && node.kind == Node::Kind::kTable) return check_keys(Section(table, node));
    const auto is_table = [](const Node& item) { return item.kind == Node::Kind::kTable; };
    if (table.array && node.kind == Node::Kind::kArray &&
        std::all_of(node.items.begin(), node.items.end(), is_table)) {
      for (const Node& item : node.items) check_keys(Section(table, item));
      return;
    }
    report_.error(
        entry.position,
        fmt::format("\"{}\" is a table{}; write {} on a line of its own", table.name,
                    table.array ? " that may come several times" : " that comes once", header(table)));
  }

  void check_keys(const Section& section) {
    for (const Entry& entry : section.node().entries) {
      const Key* const key = find_key(section.schema().name, entry.key);
      if (key == nullptr) {
        report_.error(entry.position, unknown_key(entry.key, section.schema()));
        continue;
      }
      check_side(*key, entry, section.schema());
      check_value(*key, entry.value);
      if (key->type == Type::kTables) {
        for (const Section& match : matches_of(section)) check_keys(match);
      }
    }
    check_missing_keys(section);
  }

  void check_side(const Key& key, const Entry& entry, const Table& table) {
    const bool table_is_wrong = !includes(table.side, sections_.side);  // said once, for the whole table
    if (sections_.side == Side::kNone || table_is_wrong || includes(key.side, sections_.side)) return;
    report_.error(entry.position,
                  fmt::format("{} in {} belongs in the {}'s file; here role is \"{}\"", key.name,
                              header(table), side_name(key.side), side_name(sections_.side)));
  }

  void check_value(const Key& key, const Node& node) {
    std::vector<Mistake> mistakes;
    parse_value(key, node, &mistakes);
    for (Mistake& mistake : mistakes) report_.error(mistake.at, std::move(mistake.message));
  }

  [[nodiscard]] bool is_required(Side required) const {
    return required == Side::kBoth || (sections_.side != Side::kNone && includes(required, sections_.side));
  }

  void check_missing_keys(const Section& section) {
    for (const Key& key : keys()) {
      if (key.table != section.schema().name || !is_required(key.required) || section.has(key.name)) continue;
      if (is_misspelt(key, section)) continue;
      const std::string_view dots = key.choices.empty() ? "for example " : "";
      const std::string written =
          key.choices.empty() ? std::string(config::example(key, sections_.side)) : expected(key);
      report_.error(section.at(key.name),
                    fmt::format("{} has no {}; write {}{} = {}", place(section.schema()), key.name, dots,
                                key.name, written));
    }
  }

  // An unknown key that was likely meant to be this one has its message already.
  static bool is_misspelt(const Key& key, const Section& section) {
    const std::vector<std::string_view> known = keys_of(section.schema());
    const auto& entries = section.node().entries;
    return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
      return find_key(key.table, entry.key) == nullptr &&
             (likely_meant(entry.key, known) == key.name || other_word(key.table, entry.key) == key.name);
    });
  }

  void check_missing_table(const Table& table) {
    if (table.name.empty() || !is_required(table.required)) return;
    const std::vector<std::string_view> known = top_tables();
    for (const Entry& entry : sections_.root.node().entries) {
      const bool empty_array = entry.value.kind == Node::Kind::kArray && entry.value.items.empty();
      if (entry.key == table.name && !empty_array) return;
      if (find_table(entry.key) == nullptr && likely_meant(entry.key, known) == table.name) return;
    }
    std::string needed;
    for (const Key& key : keys()) {
      if (key.table != table.name || !is_required(key.required)) continue;
      needed += fmt::format("{}{} = {}", needed.empty() ? "" : ", ", key.name, example(key, sections_.side));
    }
    report_.error({}, fmt::format("{} is missing; it needs {}", header(table), needed));
  }

  const Sections& sections_;
  Report& report_;
};

Section one(const Node& document, std::string_view name) {
  const Entry* const entry = document.find(name);
  const bool usable = entry != nullptr && entry->value.kind == Node::Kind::kTable;
  return Section(*find_table(name), usable ? entry->value : kNoTable);
}

std::vector<Section> several(const Node& parent, std::string_view key, std::string_view table) {
  std::vector<Section> sections;
  const Entry* const entry = parent.find(key);
  if (entry == nullptr || entry->value.kind != Node::Kind::kArray) return sections;
  for (const Node& item : entry->value.items) {
    if (item.kind == Node::Kind::kTable) sections.emplace_back(*find_table(table), item);
  }
  return sections;
}

}  // namespace

void Report::add(Position at, Severity severity, std::string message, bool of_the_moment) {
  for (char& c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) c = '?';
  }
  diagnostics_.push_back({file_, at.line, at.column, severity, std::move(message), of_the_moment});
}

bool Report::has_errors() const {
  return std::any_of(diagnostics_.begin(), diagnostics_.end(),
                     [](const Diagnostic& d) { return d.severity == Severity::kError; });
}

std::vector<Diagnostic> Report::take() {
  std::sort(diagnostics_.begin(), diagnostics_.end());
  diagnostics_.erase(std::unique(diagnostics_.begin(), diagnostics_.end()), diagnostics_.end());
  return std::move(diagnostics_);
}

Position Section::at(std::string_view key) const {
  const Entry* const entry = node_->find(key);
  return entry == nullptr ? node_->position : entry->value.position;
}

std::optional<Value> Section::value_of(std::string_view name) const {
  const Entry* const entry = node_->find(name);
  const Key* const key = find_key(schema_->name, name);
  return entry == nullptr || key == nullptr ? std::nullopt : parse_value(*key, entry->value, nullptr);
}

Sections find_sections(const Node& document) {
  Sections sections{Section(*find_table(""), document),
                    one(document, "server"),
                    one(document, "bond"),
                    one(document, "routes"),
                    one(document, "failover"),
                    one(document, "marks"),
                    one(document, "hooks"),
                    one(document, "web"),
                    one(document, "openvpn"),
                    one(document, "mlvpn"),
                    one(document, "nat"),
                    several(document, "wan", "wan"),
                    several(document, "policy", "policy"),
                    several(document, "forward", "forward"),
                    Side::kNone};
  if (const auto role = sections.root.get<std::string>("role")) {
    sections.side = *role == "client" ? Side::kClient : Side::kServer;
  }
  return sections;
}

std::vector<Section> matches_of(const Section& policy) {
  return several(policy.node(), "match", "policy.match");
}

void check_sections(const Sections& sections, Report& report) {
  Checker(sections, report).run();
}

}  // namespace bondd::config
