// The files of one end, as text. Pure. What comes out has no error for `bondd check` on the machine that it
// is for.
#pragma once

#include <string>
#include <vector>

#include "bondd/setup/agreement.h"

namespace bondd::setup {

struct NewFile {
  std::string name;  // in the directory of the site's file
  std::string content;
  auto operator<=>(const NewFile&) const = default;
};

// The secrets first, the site's file last: with that there, all are.
std::vector<NewFile> render_office(const Agreement& agreement, const OfficeEnd& end,
                                   const Credentials& secret);
std::vector<NewFile> render_server(const Agreement& agreement, const ServerEnd& end,
                                   const Credentials& secret);

}  // namespace bondd::setup
