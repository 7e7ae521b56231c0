#include "bondd/config/effective.h"

#include <fmt/format.h>

#include <algorithm>

#include "bondd/config/document.h"
#include "bondd/config/schema.h"

namespace bondd::config {
namespace {

constexpr std::string_view kDefault = "Default: ";
constexpr std::size_t kValueColumn = 40;  // of a terminal of 80: names and usual values fit before it

std::string value_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kText: {
      std::string out = "\"";
      for (const char c : node.text) {
        if (c == '"' || c == '\\') out += '\\';
        if (c == '\n') {
          out += "\\n";
        } else if (static_cast<unsigned char>(c) >= ' ') {
          out += c;
        }
      }
      return out + "\"";
    }
    case Node::Kind::kInteger:
      return std::to_string(node.integer);
    case Node::Kind::kNumber:
      return fmt::format("{}", node.number);
    case Node::Kind::kBool:
      return node.boolean ? "true" : "false";
    case Node::Kind::kArray: {
      std::string out = "[";
      for (const Node& item : node.items) out += (out.size() == 1 ? "" : ", ") + value_text(item);
      return out + "]";
    }
    case Node::Kind::kDate:
    case Node::Kind::kTable:
      return {};  // no key takes one
  }
  return {};
}

// What stands behind "Default:" in the schema's help, as docs/configuration.md has it.
std::string default_text(const Key& key) {
  const auto at = key.help.find(kDefault);
  if (at == std::string_view::npos) return {};
  std::string_view text = key.help.substr(at + kDefault.size());
  text = text.substr(0, text.find("; "));
  if (text.ends_with('.')) text.remove_suffix(1);
  const bool is_text = key.type == Type::kChoice || key.type == Type::kDevice || key.type == Type::kDuration;
  const bool one_word = text.find(' ') == std::string_view::npos;
  return is_text && one_word ? fmt::format("\"{}\"", text) : std::string(text);
}

class Collector {
 public:
  Collector(Side side, std::string_view other_backend) : side_(side), other_backend_(other_backend) {}

  void add_table(const Node& root, const Table& table) {
    if (!includes(table.side, side_) || table.name == other_backend_ ||
        table.name.find('.') != std::string_view::npos)
      return;
    if (table.name.empty()) return add_keys(table.name, "", root);
    const Entry* const entry = root.find(table.name);
    if (!table.array)
      return add_keys(table.name, fmt::format("{}.", table.name), entry ? entry->value : Node{});
    if (entry == nullptr) return;
    add_entries(table.name, fmt::format("{}", table.name), entry->value);
  }
  [[nodiscard]] std::vector<Setting> take() { return std::move(out_); }

 private:
  void add_entries(std::string_view table, const std::string& name, const Node& array) {
    for (std::size_t i = 0; i < array.items.size(); ++i)
      add_keys(table, fmt::format("{}[{}].", name, i + 1), array.items[i]);
  }

  void add_keys(std::string_view table, const std::string& prefix, const Node& node) {
    for (const Key& key : keys()) {
      if (key.table != table || !includes(key.side, side_)) continue;
      const Entry* const entry = node.find(key.name);
      const std::string name = prefix + std::string(key.name);
      if (entry == nullptr) {
        out_.push_back({name, default_text(key), 0});
      } else if (key.type == Type::kTables) {
        add_entries(fmt::format("{}.{}", table, key.name), name, entry->value);
      } else {
        out_.push_back({name, value_text(entry->value), entry->position.line});
      }
    }
  }

  Side side_;
  std::string_view other_backend_;  // its table
  std::vector<Setting> out_;
};

bool is_text(const Node& root, std::string_view key, std::string_view text) {
  const Entry* const entry = root.find(key);
  return entry != nullptr && entry->value.text == text;
}

}  // namespace

Result<std::vector<Setting>> effective(std::string_view text) {
  const auto root = parse_document(text);
  if (!root) return failure(root.error().message);
  Collector collector(is_text(*root, "role", "server") ? Side::kServer : Side::kClient,
                      is_text(*root, "backend", "mlvpn") ? "openvpn" : "mlvpn");
  for (const Table& table : tables()) collector.add_table(*root, table);
  return collector.take();
}

std::string to_text(const std::vector<Setting>& settings, const std::filesystem::path& file) {
  std::string out;
  for (const Setting& setting : settings) {
    const std::string left =
        fmt::format("{} = {}", setting.key, setting.value.empty() ? "(not set)" : setting.value);
    const std::string from =
        setting.line == 0 ? "default" : fmt::format("{}:{}", file.filename().string(), setting.line);
    out += fmt::format("{:<{}}  # {}\n", left, kValueColumn, from);
  }
  return out;
}

}  // namespace bondd::config
