#include "bondd/control/sysctls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "bondd/base/unique_fd.h"

namespace bondd::control {
namespace {

std::string swap_dots(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c == '.') {
      c = '/';
    } else if (c == '/') {
      c = '.';
    }
  }
  return out;
}

constexpr std::string_view kPerDevice = "net.ipv4.conf.";

class ProcSysctls : public Sysctls {
 public:
  explicit ProcSysctls(std::filesystem::path root) : root_(std::move(root)) {}

  [[nodiscard]] std::optional<std::string> read(const std::string& key) const override {
    if (!is_network_sysctl(key)) return std::nullopt;
    const UniqueFd fd(open((root_ / sysctl_path(key)).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return std::nullopt;
    std::array<char, 1024> buffer{};
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) return std::nullopt;
    std::string value(buffer.data(), static_cast<std::size_t>(got));
    while (!value.empty() && value.back() == '\n') value.pop_back();
    return value;
  }

  Result<> write(const std::string& key, const std::string& value) override {
    const std::string what = fmt::format("cannot set {} = {}", key, value);
    if (!is_network_sysctl(key)) return failure(fmt::format("{} is no setting of the network", key), EINVAL);
    const UniqueFd fd(open((root_ / sysctl_path(key)).c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return errno_failure(what);
    const std::string line = value + "\n";
    if (::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      return errno_failure(what);
    }
    return {};
  }

  [[nodiscard]] bool is_fixed(const std::string& key) const override {
    struct statvfs mounted {};
    return is_network_sysctl(key) && statvfs((root_ / sysctl_path(key)).c_str(), &mounted) == 0 &&
           (mounted.f_flag & ST_RDONLY) != 0;
  }

  [[nodiscard]] unsigned device_index(const std::string& key) const override {
    const std::string device = sysctl_device(key);
    return device.empty() ? 0 : if_nametoindex(swap_dots(device).c_str());
  }

  [[nodiscard]] std::optional<std::string> of_device(const std::string& key, unsigned index) const override {
    std::array<char, IF_NAMESIZE> name{};
    if (index == 0 || if_indextoname(index, name.data()) == nullptr) return std::nullopt;
    return with_device(key, swap_dots(name.data()));
  }

 private:
  std::filesystem::path root_;
};

}  // namespace

std::string sysctl_device(std::string_view key) {
  const std::size_t end = key.rfind('.');
  if (!key.starts_with(kPerDevice) || end < kPerDevice.size()) return {};
  const std::string_view device = key.substr(kPerDevice.size(), end - kPerDevice.size());
  return device == "all" || device == "default" ? std::string() : std::string(device);
}

std::string with_device(std::string_view key, std::string_view device) {
  return fmt::format("{}{}{}", kPerDevice, device, key.substr(key.rfind('.')));
}

bool is_network_sysctl(std::string_view key) {
  if (!key.starts_with("net.ipv4.") && !key.starts_with("net.ipv6.")) return false;
  const std::filesystem::path path = sysctl_path(key);
  return std::all_of(path.begin(), path.end(),
                     [](const auto& part) { return !part.empty() && part != "." && part != ".."; });
}

std::string sysctl_path(std::string_view key) {
  return swap_dots(key);
}

std::unique_ptr<Sysctls> make_sysctls(std::filesystem::path root) {
  return std::make_unique<ProcSysctls>(std::move(root));
}

}  // namespace bondd::control
