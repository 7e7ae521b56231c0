// Small files read and written whole.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "bondd/base/error.h"

namespace bondd {

// Writes a temporary file beside `path` (O_EXCL, so that no link is followed) with
// `mode` from the start, and renames it over `path`: readers see the old or the new whole.
Result<> write_file_atomically(const std::filesystem::path& path, std::string_view content,
                               mode_t mode = 0600);

// The whole content. Fails on more than `limit` bytes, and on what is no regular
// file of /proc, /sys or a disk.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit = 1 << 20);

}  // namespace bondd
