#include "bondd/control/peer_memory.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bondd/control/run_dir.h"

namespace bondd::control {
namespace {

constexpr mode_t kPrivateDirectory = 0700;

}  // namespace

PeerMemory::PeerMemory(std::filesystem::path directory, const std::string& site)
    : directory_(std::move(directory)), file_(directory_ / (site + ".peer")) {}

bool PeerMemory::proved(const std::string& mark) const {
  const auto noted = read_small_file(file_);
  return noted && *noted == mark + "\n";
}

Result<> PeerMemory::note(const std::string& mark) {
  if (mkdir(directory_.c_str(), kPrivateDirectory) != 0 && errno != EEXIST)
    return errno_failure(fmt::format("cannot make the directory {}", directory_.native()));
  return write_durably(file_, mark + "\n");
}

void PeerMemory::forget() {
  unlink(file_.c_str());
}

}  // namespace bondd::control
