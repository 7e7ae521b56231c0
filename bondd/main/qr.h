// A QR code as text for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace bondd {

// Two rows of the code in one line of half blocks, dark on light, with the quiet zone that readers need.
// Empty if `text` is too long for a QR code (2953 bytes).
std::string draw_qr(std::string_view text);

}  // namespace bondd
