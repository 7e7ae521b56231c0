// Secrets in memory and in files: read once, from a file that nobody else could have written, wiped when done
// with.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"

namespace bondd {

// Bytes that are wiped when they go. Cannot be copied.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size) : bytes_(size) {}
  Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) {}
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }

  [[nodiscard]] char* data() { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::string_view view() const { return {bytes_.data(), bytes_.size()}; }
  void shorten(std::size_t size);  // wipes the rest
  void wipe();

 private:
  std::vector<char> bytes_;
};
Secret secret_of(std::string_view text);
// In a time that depends on their sizes only.
bool same(const Secret& a, const Secret& b);
void wipe(std::string& text);

// Who else than root and this user (with sudo: who called it) could put another file in the place of `file`,
// or change it: what is wrong and how to mend it. Empty: nobody. The rules of OpenSSH's StrictModes: owner
// and modes of the file, of the directories above it, and of those that a symbolic link leads to; a sticky
// directory will do.
std::string unsafe_path(const std::filesystem::path& file);

// A secret's file, at most `limit` bytes of it. Fails unless it is a regular file that only its owner may
// read, and unsafe_path() has nothing against it; what was checked is what is read.
Result<Secret> read_secret(const std::filesystem::path& file, std::size_t limit = 65536);

}  // namespace bondd
