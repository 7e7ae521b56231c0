// Writes what init and join make: each file whole, with mode 0600, all of them or none; and remembers which
// tokens were used on this machine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/setup/render.h"

namespace bondd::setup {

enum class Existing { kKeep, kReplace };

// Writes `files` into `directory`, which is made (0700) if it is not there. With kKeep a file that exists is
// an error (EEXIST) and nothing is written, also when it comes into being meanwhile.
Result<> write_files(const std::filesystem::path& directory, const std::vector<NewFile>& files,
                     Existing existing);

// Takes the token `id`, once: of any number of callers at the same time exactly one succeeds. `use` says for
// which file and when; the others' error (EEXIST) has it. `state` is /var/lib/bondd.
Result<> take_token(const std::filesystem::path& state, const std::string& id, const std::string& use);
// Nothing came of it: the token may be taken again.
void give_token_back(const std::filesystem::path& state, const std::string& id);

}  // namespace bondd::setup
