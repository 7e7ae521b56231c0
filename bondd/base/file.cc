#include "bondd/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "bondd/base/unique_fd.h"

namespace bondd {
namespace {

Result<> write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_failure("write");
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Result<> write_file_atomically(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  static std::atomic<unsigned> counter{0};
  const std::string temporary = fmt::format("{}.{}.{}.new", path.string(), ::getpid(), counter++);
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) return errno_failure(fmt::format("cannot write {}", path.string()));
  Result<> written = write_all(fd.get(), content);
  if (written && ::fchmod(fd.get(), mode) != 0) written = errno_failure("fchmod");  // whatever the umask
  fd.reset();
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = errno_failure("rename");
  if (!written) {
    ::unlink(temporary.c_str());
    return tl::make_unexpected(written.error().in(fmt::format("cannot write {}", path.string())));
  }
  return {};
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
  const auto failed = [&](int code) {
    return errno_failure(fmt::format("cannot read {}", path.string()), code);
  };
  // O_NONBLOCK: never wait for the other end of a FIFO.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return failed(errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return failed(errno);
  if (S_ISDIR(info.st_mode)) return failed(EISDIR);
  if (!S_ISREG(info.st_mode)) return failed(EINVAL);
  std::string out;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(errno);
    if (n == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(n));
    if (out.size() > limit) return failed(EFBIG);
  }
}

}  // namespace bondd
