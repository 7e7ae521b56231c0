// The one table of what may stand in a site's file. The reader checks every file
// against it, suggestions for misspelt keys come from it, and a test compares
// docs/configuration.md with it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bondd::config {

// Which side's file a table or key belongs in.
enum class Side : std::uint8_t { kNone = 0, kClient = 1, kServer = 2, kBoth = 3 };
constexpr bool includes(Side a, Side b) {
  return (static_cast<unsigned>(a) & static_cast<unsigned>(b)) != 0;
}

enum class Type : std::uint8_t {
  kChoice,       // text, one of Key::choices
  kName,         // text: letters, digits, '-', '_', '.'; at most 32
  kDevice,       // text: a network device's name, 1 to 15 bytes
  kDevices,      // array of them
  kHost,         // text: address or host name
  kAddress,      // text: "192.168.1.254"
  kPrefix,       // text: "172.16.16.2/30", host bits kept
  kNetworks,     // array of text: "192.168.1.0/24", no host bits
  kTarget,       // text: "172.16.16.2:80" or without port
  kListen,       // text: "127.0.0.1:8080"
  kPort,         // whole number 1 to 65535
  kPorts,        // text or number: "6112", "27000-30000"
  kDuration,     // text: "300ms"; min and max in milliseconds
  kRate,         // text: "896kbit"
  kNumber,       // number between min and max
  kInteger,      // whole number between min and max
  kMask,         // whole number between min and max, or it as text: "0x7f000000"
  kCount,        // whole number between min and max, or "auto"
  kBool,         // true or false
  kFile,         // text: a path, relative to the site's file
  kFingerprint,  // text: SHA-256, 32 bytes in hex
  kTables,       // array of inline tables: a table of its own in the schema
};

struct Key {
  std::string_view table;  // "": before the first table
  std::string_view name;
  Type type;
  Side side = Side::kBoth;
  Side required = Side::kNone;
  std::string_view example;       // as it is written in a file, right of the '='
  std::string_view help;          // one sentence for docs/configuration.md
  std::string_view choices = {};  // "client|server"
  double min = 0, max = 0;
  std::string_view server_example = {};  // where the server's file needs another
};

struct Table {
  std::string_view name;  // "": the file itself; "policy.match": inside [[policy]]
  bool array = false;     // [[wan]]
  Side side = Side::kBoth;
  Side required = Side::kNone;
  std::string_view help;
};

std::span<const Table> tables();
std::span<const Key> keys();

// Null if there is none.
const Table* find_table(std::string_view name);
const Key* find_key(std::string_view table, std::string_view name);

// As it is written in a file: "[bond]", "[[wan]]".
std::string header(const Table& table);
// A value to write in that side's file.
std::string_view example(const Key& key, Side side);
// What the key takes, in words: "a whole number from 1 to 65535".
std::string expected(const Key& key);

}  // namespace bondd::config
