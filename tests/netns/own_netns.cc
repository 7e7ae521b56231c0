#include "tests/netns/own_netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bondd/base/unique_fd.h"

namespace bondd::testing {

namespace {

constexpr const char* kLock = "/run/xtables.lock";

void own_lock_file() {
  const UniqueFd there(::open(kLock, O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
  ASSERT_TRUE(there) << std::strerror(errno);
  ASSERT_EQ(::mount("tmpfs", "/mnt", "tmpfs", 0, nullptr), 0) << std::strerror(errno);
  const UniqueFd own(::open("/mnt/lock", O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
  ASSERT_TRUE(own) << std::strerror(errno);
  ASSERT_EQ(::mount("/mnt/lock", kLock, nullptr, MS_BIND, nullptr), 0) << std::strerror(errno);
}

}  // namespace

void OwnNetns::SetUp() {
  if (::geteuid() != 0) {
    std::fprintf(stderr, "*** SKIPPED: network namespace tests need root ***\n");
    GTEST_SKIP() << "needs root";
  }
  ASSERT_EQ(::unshare(CLONE_NEWNET | CLONE_NEWNS), 0) << std::strerror(errno);
  // /sys shows the devices of the namespace that it was mounted in; a lock file of our own keeps
  // iptables off the machine's. (Not all of /run: a lab's kernel has its modprobe there.)
  ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0) << std::strerror(errno);
  ::mount("sysfs", "/sys", "sysfs", 0, nullptr);
  own_lock_file();
  admin("ip link set lo up");
}

std::string OwnNetns::output_of(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::array<char, 4096> buffer;
  while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe))
    output.append(buffer.data(), size);
  const int status = ::pclose(pipe);
  if (status != 0) output += "\nexit status " + std::to_string(status);
  return output;
}

void OwnNetns::admin(const std::string& command) {
  const std::string output = output_of(command);
  ASSERT_EQ(output.find("exit status"), std::string::npos) << command << "\n" << output;
}

}  // namespace bondd::testing
