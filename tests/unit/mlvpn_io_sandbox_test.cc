#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <functional>
#include <string>

#include "bondd/mlvpn/io/sandbox.h"

namespace bondd::mlvpn {
namespace {

constexpr int kNotReached = 99;  // the child could not lock itself down

// Runs `act` in a child behind both steps; its wait status. `act` returns the
// exit status.
int in_sandbox(const std::function<int()>& act, Speaks speaks = Speaks::kDatagrams) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    if (!drop_rights("", parent) || !lock_down(speaks)) _exit(kNotReached);
    _exit(act());
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

void expect_killed(const char* what, const std::function<int()>& act, Speaks speaks = Speaks::kDatagrams) {
  const int status = in_sandbox(act, speaks);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
      << what << ": " << (WIFEXITED(status) ? "exit status " : "signal ")
      << (WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

TEST(Sandbox, WhatTheLoopDoesIsAllowed) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()), 0);
  const int udp = socket(AF_INET, SOCK_DGRAM, 0);
  const int status = in_sandbox([&] {
    char byte = 'x';
    const int none = 0;
    iovec slice{&byte, 1};
    if (write(ends[0], &byte, 1) != 1 || readv(ends[1], &slice, 1) != 1) return 1;
    if (setsockopt(udp, IPPROTO_UDP, 104 /* UDP_GRO */, &none, sizeof(none)) != 0) return 2;
    std::vector<char> memory(8 << 20, 'y');
    timespec now{};
    return memory[77] == 'y' && clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? 0 : 3;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  close(udp);
  close(ends[0]);
  close(ends[1]);
}

TEST(Sandbox, WhoSpeaksInConnectionsMayAcceptThemAndNoMore) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(listen(listener, 1), 0);
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(connect(client, reinterpret_cast<const sockaddr*>(&address), size), 0);
  const auto accepts = [&] {
    const int on = 1;
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) return 1;
    return send(fd, "x", 1, MSG_NOSIGNAL) == 1 && shutdown(fd, SHUT_RDWR) == 0 ? 0 : 2;
  };
  const int status = in_sandbox(accepts, Speaks::kConnections);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  expect_killed("accept", accepts);
  expect_killed(
      "connect", [&] { return connect(client, reinterpret_cast<const sockaddr*>(&address), size); },
      Speaks::kConnections);
  expect_killed(
      "socket", [] { return socket(AF_INET, SOCK_STREAM, 0); }, Speaks::kConnections);
  expect_killed(
      "TCP_ULP", [&] { return setsockopt(client, IPPROTO_TCP, TCP_ULP, "tls", 3); }, Speaks::kConnections);
  close(client);
  close(listener);
}

#ifdef __SANITIZE_ADDRESS__
TEST(Sandbox, WhatAddressSanitizerFindsIsSaidInFull) {
  ::testing::internal::CaptureStderr();
  const int status = in_sandbox([] {
    char* volatile freed = new char[8];
    delete[] freed;
    return static_cast<int>(freed[3]);
  });
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_NE(said.find("heap-use-after-free"), std::string::npos) << said;
  EXPECT_NE(said.find("freed by thread"), std::string::npos) << said;
}
#endif

TEST(Sandbox, AForbiddenCallKills) {
  expect_killed("socket", [] { return socket(AF_INET, SOCK_DGRAM, 0); });
  expect_killed("execve", [] { return execl("/bin/true", "true", nullptr); });
  expect_killed("fork", [] { return static_cast<int>(syscall(SYS_fork)); });
  expect_killed("ptrace", [] { return static_cast<int>(syscall(SYS_ptrace, 0, 0, 0, 0)); });
  expect_killed("kill", [] { return kill(getppid(), 0); });
  expect_killed("connect", [] {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    return connect(0, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  });
  expect_killed("executable memory", [] {
    return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 1
                                                                                                        : 0;
  });
  expect_killed("SO_MARK", [] {
    const int mark = 1;
    return setsockopt(0, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
  });
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their run-times open files
  expect_killed("open", [] { return open("/etc/passwd", O_RDONLY); });
  expect_killed("ioctl", [] { return static_cast<int>(syscall(SYS_ioctl, 0, 0, 0)); });
#endif
}

TEST(Sandbox, LeavesNoRights) {
  if (geteuid() != 0) GTEST_SKIP() << "not root: there are no rights to drop";
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    if (!drop_rights("", parent)) _exit(kNotReached);
    if (geteuid() == 0 || getuid() == 0 || setuid(0) == 0) _exit(1);
    if (getgroups(0, nullptr) != 0) _exit(2);
    rlimit files{1, 1};
    if (getrlimit(RLIMIT_FSIZE, &files) != 0 || files.rlim_max != 0) _exit(8);
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE) != 0) _exit(3);
    if (open("/dev/net/tun", O_RDONLY) >= 0 && socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0) _exit(4);
    for (int capability = 0; capability < 64; ++capability) {
      if (prctl(PR_CAPBSET_READ, capability) == 1) _exit(5);
    }
    int signal = 0;
    if (prctl(PR_GET_PDEATHSIG, &signal) != 0 || signal != SIGTERM) _exit(6);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
}

TEST(Sandbox, AnUnknownUserIsAnError) {
  if (geteuid() != 0) GTEST_SKIP() << "not root: the user stays as it is";
  const auto done = drop_rights("no-such-user-here", getppid());
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("no-such-user-here"), std::string::npos);
}

}  // namespace
}  // namespace bondd::mlvpn
