// Something that happened at a site, as `bondd monitor` shows it. The JSON form is fixed by the contract.
#pragma once

#include <cstdint>
#include <string>

namespace bondd::model {

struct Event {
  std::int64_t time = 0;  // seconds since 1970
  std::string site;
  std::string wan;       // empty: of the site
  std::string event;     // "site", "wan", "problem", "reload", "bondd"
  std::string from, to;  // states, or a problem's code; empty: it was not there, or is not there any more
  std::string reason;    // in words
  bool operator==(const Event&) const = default;
};

}  // namespace bondd::model
