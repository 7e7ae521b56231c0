#include "bondd/setup/store.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "bondd/base/file.h"

namespace bondd::setup {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kPrivateDirectory = 0700;

Result<> make_directory(const fs::path& directory) {
  if (mkdir(directory.c_str(), kPrivateDirectory) == 0 || errno == EEXIST) return {};
  return errno_failure(fmt::format("cannot make the directory {}", directory.string()));
}

// A whole file beside the place where it is to be; gone at the end of its life.
class Staged {
 public:
  explicit Staged(fs::path target) : target_(std::move(target)) {
    static std::atomic<unsigned> counter{0};
    path_ = fmt::format("{}.{}-{}.new", target_.string(), getpid(), counter++);
  }
  ~Staged() { unlink(path_.c_str()); }
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;

  [[nodiscard]] const fs::path& target() const { return target_; }
  [[nodiscard]] Result<> write(const std::string& content) const {
    return write_file_atomically(path_, content, 0600);
  }
  // EEXIST with kKeep where a file is: link(2), unlike rename(2), never replaces one.
  [[nodiscard]] Result<> put_in_place(Existing existing) const {
    const int done = existing == Existing::kReplace ? rename(path_.c_str(), target_.c_str())
                                                    : link(path_.c_str(), target_.c_str());
    const int code = errno;
    if (done == 0) return {};
    if (code != EEXIST) return errno_failure(fmt::format("cannot write {}", target_.string()), code);
    return failure(
        fmt::format("{} exists and is left as it is; choose another --name, or --force replaces it",
                    target_.string()),
        EEXIST);
  }

 private:
  fs::path target_, path_;
};

fs::path token_file(const fs::path& state, const std::string& id) {
  return state / "tokens" / id;
}

}  // namespace

Result<> write_files(const fs::path& directory, const std::vector<NewFile>& files, Existing existing) {
  if (auto made = make_directory(directory); !made) return made;
  std::vector<std::unique_ptr<Staged>> staged;  // a full disk is noticed before anything is replaced
  for (const NewFile& file : files) {
    staged.push_back(std::make_unique<Staged>(directory / file.name));
    if (auto written = staged.back()->write(file.content); !written) return written;
  }
  for (std::size_t i = 0; i < staged.size(); ++i) {
    auto placed = staged[i]->put_in_place(existing);
    if (placed) continue;
    if (existing == Existing::kKeep) {
      for (std::size_t made = 0; made < i; ++made) unlink(staged[made]->target().c_str());
    }
    return placed;
  }
  return {};
}

Result<> take_token(const fs::path& state, const std::string& id, const std::string& use) {
  const fs::path file = token_file(state, id);
  for (const fs::path& needed : {state, file.parent_path()}) {
    if (auto made = make_directory(needed); !made) return made;
  }
  const Staged staged(file);
  if (auto written = staged.write(use + "\n"); !written) return written;
  auto taken = staged.put_in_place(Existing::kKeep);
  if (taken || taken.error().code != EEXIST) return taken;
  std::string first_use = read_file(file).value_or("");
  first_use.resize(first_use.find_last_not_of('\n') + 1);
  return failure(
      fmt::format(
          "this token was used already: {}; a token works once: `bondd init --force` on the other end "
          "prints a new one",
          first_use),
      EEXIST);
}

void give_token_back(const fs::path& state, const std::string& id) {
  unlink(token_file(state, id).c_str());
}

}  // namespace bondd::setup
