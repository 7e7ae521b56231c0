// `bondd key`: who this end is, for the other end's `fingerprint`.
#include <fmt/format.h>
#include <unistd.h>

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
  if (checked->config.backend == model::Backend::kMlvpn) {
    say(fmt::format(
        "bondd: {} uses backend = \"mlvpn\": both ends have the same {}; `bondd init` makes key pairs, too",
        file->site, checked->config.mlvpn.password_file.native()));
    return kFailed;
  }
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
  fmt::print("fingerprint = \"{}\"\n", *fingerprint);
  if (isatty(STDOUT_FILENO) == 1)
    say("Put this line into [openvpn] of the other end's file, then run `bondd reload` there.");
  return kDone;
}

}  // namespace bondd
