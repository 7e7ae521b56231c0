// `bondd key`: who this end is, for the other end's `fingerprint`.
#include <fmt/format.h>

#include <cstdio>

#include "bondd/main/commands.h"
#include "bondd/main/site_file.h"
#include "openvpn-profiles/identity.h"

namespace bondd {

int key_command(const CommonOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file) return kFailed;
  const auto checked = load_site_file(file->path, config::Purpose::kMakeKey);
  if (!checked) return kFailed;
  const model::OpenVpn& files = checked->config.openvpn;
  if (files.auth == model::OpenVpnAuth::kStaticKey) {
    say(fmt::format(
        "bondd: {} uses auth = \"static-key\", which has no fingerprint; `openvpn --genkey secret {}` "
        "makes its key, and both ends have the same",
        file->site, files.static_key.native()));
    return kFailed;
  }
  const auto fingerprint = openvpn::ensure_identity(files.private_key, files.certificate, file->site);
  if (!fingerprint) {
    say_error(fingerprint.error());
    return kFailed;
  }
  fmt::print("{}\n", *fingerprint);
  return kDone;
}

}  // namespace bondd
