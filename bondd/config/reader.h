// A document read by the schema: every table and key is looked up, every value checked
// on its own, every mistake reported. What is left for others spans several keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"
#include "bondd/config/config.h"
#include "bondd/config/document.h"
#include "bondd/config/schema.h"
#include "bondd/model/config.h"

namespace bondd::config {

// Collects what is to be said about one file.
class Report {
 public:
  explicit Report(std::filesystem::path file) : file_(std::move(file)) {}

  void error(Position at, std::string message) { add(at, Severity::kError, std::move(message)); }
  void warning(Position at, std::string message) { add(at, Severity::kWarning, std::move(message)); }
  // See Diagnostic::of_the_moment.
  void warning_of_the_moment(Position at, std::string message) {
    add(at, Severity::kWarning, std::move(message), true);
  }
  [[nodiscard]] bool has_errors() const;
  // In the file's order, each once.
  [[nodiscard]] std::vector<Diagnostic> take();

 private:
  void add(Position at, Severity severity, std::string message, bool of_the_moment = false);

  std::filesystem::path file_;
  std::vector<Diagnostic> diagnostics_;
};

// "172.16.16.2:80"; without ports they are those of the forward. Of a kListen the port is one, and there.
struct Target {
  IpAddress address;
  std::optional<model::PortRange> port;
};

using Value = std::variant<std::string, bool, std::int64_t, double, Duration, Rate, IpAddress, IpPrefix,
                           model::PortRange, Target, std::vector<std::string>, std::vector<IpPrefix>>;

struct Mistake {
  Position at;
  std::string message;
};

// The value that `key` takes, or none and the reason in `mistakes` (if it is not null).
std::optional<Value> parse_value(const Key& key, const Node& node, std::vector<Mistake>* mistakes);

// One table of the file next to its part of the schema.
class Section {
 public:
  Section(const Table& schema, const Node& node) : schema_(&schema), node_(&node) {}

  [[nodiscard]] const Table& schema() const { return *schema_; }
  [[nodiscard]] const Node& node() const { return *node_; }
  [[nodiscard]] bool has(std::string_view key) const { return node_->find(key) != nullptr; }
  // Where the key's value stands, or the table if there is no such key.
  [[nodiscard]] Position at(std::string_view key) const;
  // None if the key is absent or mistaken (which check_sections() reports).
  template <typename T>
  [[nodiscard]] std::optional<T> get(std::string_view key) const {
    const std::optional<Value> value = value_of(key);
    if (!value) return std::nullopt;
    const T* const held = std::get_if<T>(&*value);
    return held == nullptr ? std::nullopt : std::optional<T>(*held);
  }

 private:
  [[nodiscard]] std::optional<Value> value_of(std::string_view key) const;

  const Table* schema_;
  const Node* node_;
};

// The file by its tables. A table that is absent is an empty Section at the file's start.
struct Sections {
  Section root, server, bond, routes, failover, marks, hooks, web, openvpn, mlvpn, nat;
  std::vector<Section> wans, policies, forwards;
  Side side = Side::kNone;  // kNone: role is missing or mistaken
};

// `document` must outlive the result.
Sections find_sections(const Node& document);
// The entries of a policy's match.
std::vector<Section> matches_of(const Section& policy);

// Reports unknown tables and keys, wrong types and ranges, keys of the other side, and
// what is missing.
void check_sections(const Sections& sections, Report& report);

// `text` in quotes for a message: cut when long, without control characters.
std::string in_quotes(std::string_view text);

}  // namespace bondd::config
