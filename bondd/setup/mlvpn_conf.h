// The lines of an mlvpn.conf: sections and "key = value", as MLVPN 2.3 reads them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bondd::setup {

struct ConfEntry {
  std::string key, value;  // without quotes
  std::size_t line = 0;
};

struct ConfSection {
  std::string name;  // "general", "filters", or a link's
  std::size_t line = 0;
  std::vector<ConfEntry> entries;
};

struct ConfFile {
  std::vector<ConfSection> sections;
  std::vector<std::size_t> odd;  // lines that are none of these
  std::string name;              // of the tunnel, where the file says it
  bool is_record = false;        // of NethServer: an mlvpn.conf has no NAT
};

// About one line of a file that is imported: it is not supported, not needed, dangerous, or needs a decision.
struct ImportRemark {
  std::size_t line = 0;  // from 1; 0: about the whole file
  std::string text;
  bool operator==(const ImportRemark&) const = default;
};

// Lines of a script, those that end in a backslash joined with what follows, by their first one's number.
struct NumberedLine {
  std::size_t number = 0;  // from 1
  std::string text;
};
std::vector<NumberedLine> joined_lines(std::string_view text);

// '#' and ';' begin a comment outside of quotes. What stands before the first section is in "general".
ConfFile parse_mlvpn_conf(std::string_view text);

}  // namespace bondd::setup
