// Asking whoever types a command.
#pragma once

#include <functional>
#include <string>

#include "bondd/base/error.h"

namespace bondd {

// Whether standard input is a terminal.
bool can_ask();
// What is answered, `proposal` for an empty answer. Fails, naming `flag`, when nobody can be asked.
Result<std::string> ask(const std::string& question, const std::string& proposal, const std::string& flag);

// A secret from standard input; a terminal does not show it. It ends with the input, or at the end of a line
// where `is_whole` says so or, at a terminal, no other follows at once: mail programs fold long lines.
Result<std::string> read_secret_text(const std::string& question,
                                     const std::function<bool(const std::string&)>& is_whole);

}  // namespace bondd
