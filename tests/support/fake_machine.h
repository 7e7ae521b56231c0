// A machine for the check of site files: an office's devices, some key files, and
// whatever a test adds.
#pragma once

#include <cerrno>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bondd/config/config.h"

namespace bondd::test {

struct FakeFile {
  std::string content;
  std::uint32_t permissions = 0600;
  bool regular = true;
  bool readable = true;
};

inline const std::string kStaticKey =
    "-----BEGIN OpenVPN Static key V1-----\n00\n-----END OpenVPN Static key V1-----\n";

class FakeMachine final : public config::CheckContext {
 public:
  std::map<std::filesystem::path, FakeFile> files{
      {"/etc/bondd/bond.key", {kStaticKey}},
      {"/etc/bondd/bond.password", {"correct horse battery staple\n"}},
      {"/etc/bondd/open.key", {kStaticKey, 0644}},
      {"/etc/bondd/empty.key", {""}},
      {"/etc/bondd/odd.key", {"what is this\n"}},
      {"/etc/bondd/private.key", {kStaticKey, 0600, true, false}},
      {"/etc/bondd/directory", {"", 0700, false}},
      {"/etc/bondd/blank.password", {"  \nsecond line\n"}},
      {"/etc/bondd/tls.key", {"-----BEGIN PRIVATE KEY-----\n"}},
      {"/etc/bondd/tls.crt", {"-----BEGIN CERTIFICATE-----\n", 0644}},
  };
  std::vector<Device> machine_devices{
      {"lo", {prefix("127.0.0.1/8")}, {}},
      {"eth0", {prefix("192.168.1.252/24"), prefix("203.0.113.10/24"), prefix("2001:db8::252/64")}, {}},
      {"eth1", {prefix("192.168.8.100/24")}, {}},
      {"ppp0", {prefix("198.51.100.7/32")}, {parse_ip("198.51.100.1").value()}},
      {"wlan0", {}, {}},
  };
  bool knows_devices = true;

  static IpPrefix prefix(std::string_view text) { return parse_prefix(text).value(); }

  [[nodiscard]] Result<FileFacts> stat(const std::filesystem::path& file) const override {
    const auto found = files.find(file);
    if (found == files.end()) return errno_failure(file.string(), ENOENT);
    return FileFacts{found->second.regular, found->second.permissions, found->second.content.size()};
  }
  [[nodiscard]] Result<std::string> read(const std::filesystem::path& file,
                                         std::size_t limit) const override {
    const auto found = files.find(file);
    if (found == files.end()) return errno_failure(file.string(), ENOENT);
    if (!found->second.readable) return errno_failure(file.string(), EACCES);
    return found->second.content.substr(0, limit);
  }
  [[nodiscard]] std::optional<std::vector<Device>> devices() const override {
    return knows_devices ? std::optional(machine_devices) : std::nullopt;
  }
};

}  // namespace bondd::test
