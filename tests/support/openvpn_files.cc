// Both ends' files of one openvpn-bond tunnel with TLS, as bondd writes them, for a test that runs openvpn
// itself:
//   openvpn_files FOLDER SERVER PORT USER GROUP [--no-tls-crypt]
// FOLDER/office.conf has the tap "office", FOLDER/vps.conf the tap "vps".
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include "bondd/base/file.h"
#include "openvpn-profiles/identity.h"
#include "openvpn-profiles/profile.h"
#include "openvpn-profiles/tls_crypt.h"

namespace {

using namespace bondd;

template <typename T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "openvpn_files: {}\n", result.error().message);
  std::exit(1);
}

void must(const Result<>& result) {
  if (!result) must(Result<int>(tl::make_unexpected(result.error())));
}

}  // namespace

int main(int argc, char** argv) {
  const std::span words(argv, static_cast<std::size_t>(argc));
  if (words.size() < 6) return 2;
  const std::filesystem::path folder = words[1];
  openvpn::Profile office;
  office.auth = openvpn::Auth::kTls;
  office.device = "office";
  office.remote = must(parse_ip(words[2]));
  office.remote_port = static_cast<std::uint16_t>(std::atoi(words[3]));
  office.user = words[4];
  office.group = words[5];
  openvpn::Profile vps = office;
  vps.role = openvpn::Role::kServer;
  vps.device = "vps";
  vps.local_port = office.remote_port;
  vps.remote.reset();
  for (openvpn::Profile* end : {&office, &vps}) {
    end->private_key = folder / (end->device + ".key");
    end->certificate = folder / (end->device + ".crt");
  }
  office.peer_fingerprint = must(openvpn::ensure_identity(vps.private_key, vps.certificate, "vps"));
  vps.peer_fingerprint = must(openvpn::ensure_identity(office.private_key, office.certificate, "office"));
  for (openvpn::Profile* end : {&office, &vps}) {
    if (words.size() == 6) {
      end->tls_crypt = folder / (end->device + ".tls-crypt");
      must(write_file_atomically(end->tls_crypt, must(openvpn::derive_tls_crypt_key(office.peer_fingerprint,
                                                                                    vps.peer_fingerprint))));
    }
    must(write_file_atomically(folder / (end->device + ".conf"), must(openvpn::render(*end, {2, 6, 0}))));
  }
}
