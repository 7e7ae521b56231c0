// What to say to somebody who typed something that is not there. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace bondd {

// "there is no command "satus"; did you mean "status"?" Also knows what other programs call it: "start".
std::string no_such_command(std::string_view word, std::span<const std::string> commands);

// "there is no option "--jsn"; did you mean "--json"?"
std::string no_such_option(std::string_view word, std::span<const std::string> options);

}  // namespace bondd
