// Kernel settings under /proc/sys, by their name in sysctl(8): dots between the
// parts, and a dot within a device's name written as a slash
// ("net.ipv4.conf.eth0/5.rp_filter").
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"

namespace bondd::control {

class Sysctls {
 public:
  virtual ~Sysctls() = default;
  // The value without its newline; nothing if there is no such setting (now), as
  // for a device that is gone, or if it cannot be read.
  [[nodiscard]] virtual std::optional<std::string> read(const std::string& key) const = 0;
  // ENOENT if there is no such setting, EACCES, EPERM or EROFS without rights, EINVAL for a name that is
  // none of the network's.
  virtual Result<> write(const std::string& key, const std::string& value) = 0;
  // Nobody can change it here, as in a container whose /proc/sys is mounted read-only. Needs no rights.
  [[nodiscard]] virtual bool is_fixed(const std::string& key) const = 0;
  // The number of the device that the setting is of, which it keeps when it is renamed; 0 when it is of none.
  [[nodiscard]] virtual unsigned device_index(const std::string& key) const = 0;
  // The setting by the name that the device with that number has now; nothing if there is no such device.
  [[nodiscard]] virtual std::optional<std::string> of_device(const std::string& key,
                                                             unsigned index) const = 0;
};

// The kernel's own, at `root`: /proc/sys.
std::unique_ptr<Sysctls> make_sysctls(std::filesystem::path root = "/proc/sys");

// "eth0/5" of "net.ipv4.conf.eth0/5.rp_filter"; empty for a setting of no device, "all" and "default"
// included.
std::string sysctl_device(std::string_view key);
// The same setting of another device.
std::string with_device(std::string_view key, std::string_view device);

// True for a name under net.ipv4 or net.ipv6 whose path stays there. Names come out of file names, too.
bool is_network_sysctl(std::string_view key);
// "net.ipv4.conf.eth0/5.rp_filter" -> "net/ipv4/conf/eth0.5/rp_filter"
std::string sysctl_path(std::string_view key);

}  // namespace bondd::control
