// `bondd import`: the site of an mlvpn.conf, or of a record of NethServer's, as bondd's files. Pure: text in;
// files, and what was left out, out.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/setup/mlvpn_conf.h"
#include "bondd/setup/render.h"
#include "bondd/setup/updown_script.h"

namespace bondd::setup {

struct Imported {
  std::vector<NewFile> files;         // SITE.password where there is a password, and SITE.toml
  std::vector<ImportRemark> remarks;  // on the conf, in its order; those on the script are the script's
  bool complete = true;               // false: SITE.toml lacks something that the conf does not tell
};

// By which device, and gateway if one is known, this machine's packets with that source address leave. None:
// no device has the address.
struct ImportExit {
  std::string device;
  std::optional<IpAddress> gateway;
};
using ExitOf = std::function<std::optional<ImportExit>(const IpAddress&)>;

// Whether it is the VPS's file.
bool is_server(const ConfFile& conf);

// Never fails: what is not understood is a remark. Secrets are in no remark. `script` may be null.
Imported import_mlvpn(const ConfFile& conf, const std::string& site, const ExitOf& exit_of,
                      const UpdownScript* script);

}  // namespace bondd::setup
