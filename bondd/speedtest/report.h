// What `bondd speedtest` shows and prints. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/speedtest/transfer.h"

namespace bondd::speedtest {

// Of a metered WAN, each way.
constexpr std::uint64_t kMeteredBytes = 20'000'000;

struct Row {
  std::string wan;      // empty: the bond
  std::string metered;  // the key of the file by which it is known to cost; empty: it is not
  std::optional<double> idle_ms;
  Transferred down, up;
  std::string reason;  // why a figure is missing; empty: none is
};

struct Report {
  std::string site;
  std::int64_t time = 0;  // of its begin, seconds since 1970
  std::vector<Row> rows;  // lines, then the bond
};

// The text that the command prints before the test starts; several lines. `metered`: names of WANs that may
// cost money, and the key of the file that says so.
std::string announcement(const std::string& site, std::size_t rows,
                         const std::vector<std::pair<std::string, std::string>>& metered);
// A table of at most 79 columns.
std::string table_head();
std::string table_row(const Row& row);
std::string json(const Report& report);
bool complete(const Report& report);

}  // namespace bondd::speedtest
