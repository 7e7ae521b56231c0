#include "bondd/base/secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "bondd/base/text.h"
#include "bondd/base/unique_fd.h"

namespace bondd {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOthersWrite = 022, kOthers = 077;

std::optional<uid_t> caller_of_sudo() {
  const char* text = std::getenv("SUDO_UID");
  if (text == nullptr || ::geteuid() != 0) return std::nullopt;
  char* end = nullptr;
  const unsigned long uid = std::strtoul(text, &end, 10);
  return end == text || *end != 0 ? std::nullopt : std::optional(static_cast<uid_t>(uid));
}

bool is_trusted(uid_t owner) {
  return owner == 0 || owner == ::geteuid() || owner == caller_of_sudo();
}

std::string complaint(const fs::path& path, const struct stat& facts) {
  const std::string name = shell_quote(path.string());
  if (!is_trusted(facts.st_uid)) {
    return fmt::format("{} belongs to user {}, who could change it; run chown root {}", path.string(),
                       facts.st_uid, name);
  }
  const bool sticky = S_ISDIR(facts.st_mode) && (facts.st_mode & S_ISVTX) != 0;
  if (!S_ISLNK(facts.st_mode) && !sticky && (facts.st_mode & kOthersWrite) != 0) {
    return fmt::format("others may write to {} (mode {:04o}); run chmod go-w {}", path.string(),
                       facts.st_mode & 07777, name);
  }
  return {};
}

// From the root down to the file, links not followed.
std::string complaint_on_the_way(const fs::path& absolute) {
  fs::path path;
  for (const fs::path& part : absolute) {
    path /= part;
    struct stat facts {};
    if (::lstat(path.c_str(), &facts) != 0) return {};  // not there: another finding
    if (std::string found = complaint(path, facts); !found.empty()) return found;
  }
  return {};
}

}  // namespace

Secret& Secret::operator=(Secret&& other) noexcept {
  wipe();
  bytes_ = std::move(other.bytes_);
  return *this;
}

void Secret::wipe() {
  ::explicit_bzero(bytes_.data(), bytes_.size());
  bytes_.clear();
}

void Secret::shorten(std::size_t size) {
  if (size >= bytes_.size()) return;
  ::explicit_bzero(bytes_.data() + size, bytes_.size() - size);
  bytes_.resize(size);
}

Secret secret_of(std::string_view text) {
  Secret secret(text.size());
  std::ranges::copy(text, secret.data());
  return secret;
}

bool same(const Secret& a, const Secret& b) {
  if (a.size() != b.size()) return false;
  unsigned differ = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    differ |= static_cast<unsigned char>(a.view()[i]) ^ static_cast<unsigned char>(b.view()[i]);
  return differ == 0;
}

void wipe(std::string& text) {
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

std::string unsafe_path(const fs::path& file) {
  std::error_code failed;
  const fs::path absolute = fs::absolute(file, failed).lexically_normal();
  if (failed) return {};
  if (std::string found = complaint_on_the_way(absolute); !found.empty()) return found;
  const fs::path real = fs::canonical(absolute, failed);
  return failed || real == absolute ? std::string() : complaint_on_the_way(real);
}

Result<Secret> read_secret(const fs::path& file, std::size_t limit) {
  const auto failed = [&](const std::string& why, int code) {
    return failure(fmt::format("cannot use {}: {}", file.string(), why), code);
  };
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat facts {};
  if (!fd || ::fstat(fd.get(), &facts) != 0)
    return errno_failure(fmt::format("cannot read {}", file.string()));
  if (!S_ISREG(facts.st_mode)) return failed("it is not a file", EINVAL);
  if ((facts.st_mode & kOthers) != 0)
    return failed(fmt::format("others may read it (mode {:04o}); run chmod 600 {}", facts.st_mode & 07777,
                              shell_quote(file.string())),
                  EPERM);
  if (const std::string found = complaint(file, facts); !found.empty()) return failed(found, EPERM);
  if (const std::string found = unsafe_path(file); !found.empty()) return failed(found, EPERM);
  Secret secret(std::min(limit, static_cast<std::size_t>(facts.st_size)));
  std::size_t have = 0;
  while (have < secret.size()) {
    const ssize_t got = ::read(fd.get(), secret.data() + have, secret.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_failure(fmt::format("cannot read {}", file.string()));
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  secret.shorten(have);
  return secret;
}

}  // namespace bondd
