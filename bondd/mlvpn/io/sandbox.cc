#include "bondd/mlvpn/io/sandbox.h"

#include <cap-ng.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BONDD_SANITIZED 1
#endif

namespace bondd::mlvpn {
namespace {

const passwd* find_user(const std::string& user) {
  if (!user.empty()) return getpwnam(user.c_str());
  const passwd* own = getpwnam("_bondd");
  return own != nullptr ? own : getpwnam("nobody");
}

Result<std::string> become(const std::string& user) {
  if (geteuid() != 0) return "user " + std::to_string(geteuid());
  const passwd* entry = find_user(user);
  if (entry == nullptr) return failure("user \"" + (user.empty() ? "nobody" : user) + "\" does not exist");
  const std::string name = entry->pw_name;
  const gid_t group = entry->pw_gid;
  const uid_t id = entry->pw_uid;
  // While CAP_SETPCAP is there; without it the bounding set stays, which means
  // nothing to a process that can execute no file.
  capng_clear(CAPNG_SELECT_BOUNDS);
  (void)capng_apply(CAPNG_SELECT_BOUNDS);
  if (setgroups(0, nullptr) != 0 || setresgid(group, group, group) != 0 || setresuid(id, id, id) != 0) {
    return errno_failure("become user " + name);
  }
  return "user " + name;
}

// What the loop, the allocator, the crypto library and a crash need. Everything
// else is refused by the filter's default.
constexpr std::array kAllowed{
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(poll),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    // abort() in the assert of a debug build, so that it dies of SIGABRT
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction),
#ifdef BONDD_SANITIZED
    SCMP_SYS(sigaltstack),
    SCMP_SYS(clone),
    SCMP_SYS(open),
    SCMP_SYS(fcntl),
    SCMP_SYS(openat),
    SCMP_SYS(readlink),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(prctl),
    SCMP_SYS(getrlimit),
    SCMP_SYS(prlimit64),
    SCMP_SYS(wait4),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstat),
    SCMP_SYS(lseek),
    SCMP_SYS(getdents64),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(ioctl),
    // UBSan asks through a pipe whether an object's memory can be read
    SCMP_SYS(pipe2),
#endif
};

constexpr std::array kAllowedForConnections{
    SCMP_SYS(accept4),     SCMP_SYS(recvfrom),    SCMP_SYS(sendto),   SCMP_SYS(shutdown),
    SCMP_SYS(getpeername), SCMP_SYS(getsockname), SCMP_SYS(sendfile),
};

using Filter = std::unique_ptr<void, decltype(&seccomp_release)>;

// Memory may be had and protected, never made executable.
int allow_memory(const Filter& filter) {
  const scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
  const int mapped = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_executable);
  return mapped != 0 ? mapped
                     : seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_executable);
}

int allow_udp_options(const Filter& filter) {
  return seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 1,
                          SCMP_A1(SCMP_CMP_EQ, IPPROTO_UDP));
}

int allow_connections(const Filter& filter) {
  int error = 0;
  for (const int call : kAllowedForConnections) {
    if (error == 0) error = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0);
  }
  for (const unsigned option : {TCP_NODELAY, TCP_CORK}) {
    if (error == 0) {
      error = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
                               SCMP_A1(SCMP_CMP_EQ, IPPROTO_TCP), SCMP_A2(SCMP_CMP_EQ, option));
    }
  }
  return error;
}

// Memory: an engine needs less than 64 MB, and eight times that is surely a fault or an attack.
constexpr rlim_t kMaxData = 512U << 20U;

// By itself: bondd may not limit a process that is another user's already.
bool limit_itself() {
  const rlimit none{0, 0};
  bool done = setrlimit(RLIMIT_FSIZE, &none) == 0 && setrlimit(RLIMIT_CORE, &none) == 0;
#ifndef BONDD_SANITIZED  // they need terabytes of addresses
  const rlimit data{kMaxData, kMaxData};
  done = done && setrlimit(RLIMIT_DATA, &data) == 0;
#endif
  return done;
}

}  // namespace

Result<std::string> drop_rights(const std::string& user, int parent) {
  if (!limit_itself()) return errno_failure("limit itself");
  auto who = become(user);
  if (!who) return who;
  // Changing the user clears the death signal and may set dumpable: so only now.
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) return errno_failure("PR_SET_PDEATHSIG");
  if (getppid() != parent) return failure("the supervisor is gone");
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return errno_failure("PR_SET_DUMPABLE");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno_failure("PR_SET_NO_NEW_PRIVS");
  capng_clear(CAPNG_SELECT_ALL);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return failure("capabilities cannot be dropped");
  if (capng_get_caps_process() != 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE) {
    return failure("capabilities are left after dropping them");
  }
  return *who + ", no capabilities";
}

Result<> lock_down(Speaks speaks) {
  const Filter filter(seccomp_init(SCMP_ACT_KILL_PROCESS), &seccomp_release);
  if (filter == nullptr) return failure("seccomp filter");
  int error = 0;
  for (const int call : kAllowed) {
    if (error == 0) error = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0);
  }
  if (error == 0) error = allow_memory(filter);
  if (error == 0) {
    error = speaks == Speaks::kConnections ? allow_connections(filter) : allow_udp_options(filter);
  }
  if (error == 0) error = seccomp_load(filter.get());
  if (error != 0) return errno_failure("seccomp filter", -error);
  return {};
}

}  // namespace bondd::mlvpn
