#include "bondd/control/unconfirmed_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bondd/control/run_dir.h"

namespace bondd::control {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kRootOnly = 0600;

fs::path beside(const fs::path& file, std::string_view ending) {
  return file.parent_path() / fmt::format("{}{}", file.filename().native(), ending);
}

fs::path real_file(const fs::path& file) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(file, error);
  return error ? file : real;
}

}  // namespace

UnconfirmedFile::UnconfirmedFile(const fs::path& file)
    : file_(real_file(file)), before_(beside(file_, ".before")), rejected_(beside(file_, ".unconfirmed")) {}

Result<> UnconfirmedFile::keep(std::string_view text) const {
  return write_durably(before_, text, kRootOnly);
}

Result<std::string> UnconfirmedFile::restore() const {
  const auto before = read_small_file(before_);
  if (!before && before.error().code == ENOENT) return std::string();
  if (!before) return tl::make_unexpected(before.error());
  const auto now = read_small_file(file_);
  std::string said;
  if (!now || *now != *before) {
    struct stat facts {};
    const bool there = stat(file_.c_str(), &facts) == 0;
    if (now) {
      if (auto kept = write_durably(rejected_, *now, kRootOnly); !kept)
        return tl::make_unexpected(kept.error());
    }
    if (auto written = write_durably(file_, *before, kRootOnly); !written)
      return tl::make_unexpected(written.error());
    // bondd@.service may not give files away: such a one stays root's, for root only.
    if (there && chown(file_.c_str(), facts.st_uid, facts.st_gid) == 0)
      chmod(file_.c_str(), facts.st_mode & 07777U);
    said = fmt::format("{} was changed and not confirmed, so it is as before again; the changed one is {}",
                       file_.native(), rejected_.native());
  } else {
    said = fmt::format("the last reload of {} was not confirmed", file_.native());
  }
  if (auto gone = forget(); !gone) return tl::make_unexpected(gone.error());
  return said;
}

Result<> UnconfirmedFile::forget() const {
  if (unlink(before_.c_str()) != 0 && errno != ENOENT)
    return errno_failure(fmt::format("cannot remove {}", before_.native()));
  return {};
}

}  // namespace bondd::control
