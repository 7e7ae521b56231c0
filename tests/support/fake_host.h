// A whole machine in memory for tests of control: kernel, firewall, settings and processes,
// and a run directory under /tmp.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bondd/control/executor.h"
#include "bondd/control/observer.h"
#include "tests/support/fake_iptables.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/sysctls.h"

namespace bondd::testing {

class FakeSysctls final : public control::Sysctls {
 public:
  [[nodiscard]] std::optional<std::string> read(const std::string& key) const override {
    const auto found = values.find(key);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  }
  Result<> write(const std::string& key, const std::string& value) override {
    if (crashed) return failure("killed", EINTR);
    if (read_only) return failure("read-only file system", EROFS);
    if (!values.contains(key)) return failure("no such setting", ENOENT);
    values[key] = value;
    // As inet_forward_change() in the kernel.
    if (key == "net.ipv4.ip_forward") {
      values["net.ipv4.conf.all.accept_redirects"] = value == "1" ? "0" : "1";
      values["net.ipv4.conf.eth0.forwarding"] = value;
    }
    return {};
  }
  [[nodiscard]] bool is_fixed(const std::string& key) const override {
    return read_only && values.contains(key);
  }
  [[nodiscard]] unsigned device_index(const std::string& key) const override {
    const auto found = devices.find(control::sysctl_device(key));
    return found == devices.end() ? 0 : found->second;
  }
  [[nodiscard]] std::optional<std::string> of_device(const std::string& key, unsigned index) const override {
    for (const auto& [device, number] : devices) {
      if (number == index) return control::with_device(key, device);
    }
    return std::nullopt;
  }
  // `ip link set FROM name TO`
  void rename(const std::string& from, const std::string& to) {
    std::map<std::string, std::string> renamed;
    for (const auto& [key, value] : values)
      renamed[control::sysctl_device(key) == from ? control::with_device(key, to) : key] = value;
    values = renamed;
    devices[to] = devices.at(from);
    devices.erase(from);
  }
  std::map<std::string, unsigned> devices{{"eth0", 2}};
  std::map<std::string, std::string> values;
  bool crashed = false, read_only = false;
};

class FakeProcesses final : public control::ProcessTable {
 public:
  Result<> start(const model::Process& process) override {
    if (crashed) return failure("killed", EINTR);
    std::erase_if(processes, [&](const model::Process& old) { return old.id == process.id; });
    processes.push_back(process);
    return {};
  }
  Result<> stop(const std::string& id) override {
    std::erase_if(processes, [&](const model::Process& process) { return process.id == id; });
    return {};
  }
  [[nodiscard]] std::vector<model::Process> running() const override { return processes; }
  std::vector<model::Process> processes;
  bool crashed = false;
};

class TemporaryDir {
 public:
  TemporaryDir() {
    std::string name = "/tmp/bondd-test-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDir(const TemporaryDir&) = delete;
  TemporaryDir& operator=(const TemporaryDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The office's server as in the examples: eth0 with 192.168.1.252/24 and its default route.
class FakeHost {
 public:
  FakeHost() {
    kernel.add_device("eth0", {"192.168.1.252/24"});
    sysctls.values = fresh_sysctls();
  }

  control::Machine machine(control::RunDir& run_dir) {
    return {&kernel, &iptables, &sysctls, &processes, &run_dir};
  }

  // From the nth kernel change on nothing has an effect, as if bondd were killed there.
  void crash_at(std::size_t n) { kernel.crash_at(n); }
  void crash_all() {
    iptables.crash_at(1);
    sysctls.crashed = processes.crashed = true;
  }
  // A new bondd: its children died with the old one.
  void restart() {
    kernel.recover();
    iptables.recover();
    sysctls.crashed = processes.crashed = false;
    processes.processes.clear();
  }

  static control::Programs programs() {
    control::Programs programs;
    programs.openvpn = "/usr/sbin/openvpn";
    programs.openvpn_minor = 6;
    programs.openvpn_version = "2.6.14";
    programs.uid = 65534;
    programs.user = "nobody";
    programs.group = "nogroup";
    return programs;
  }

  FakeKernel kernel;
  FakeIptables iptables;
  FakeSysctls sysctls;
  FakeProcesses processes;
};

}  // namespace bondd::testing
