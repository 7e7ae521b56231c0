// What openvpn's log lines mean to an admin.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bondd::control {

// The cause that a line of openvpn's output tells of, in words, with what to look at; nothing
// for a line that tells of none. Lines as openvpn 2.5 to 2.7 write them, with or without a time.
std::optional<std::string> trouble_in(std::string_view line);

// Whether words of trouble_in() say that keys or certificates of the two ends differ.
bool is_about_secrets(std::string_view words);

}  // namespace bondd::control
