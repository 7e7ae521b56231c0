// A text between the two daemons in a frame on a tap, beside the probes and with their EtherType. A
// bondd that does not know of it takes it for a probe of another version, and drops it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bondd::control {

constexpr std::size_t kMostTelling = 1200;  // bytes of text; fits a tap of every MTU

// What stands in a frame after the Ethernet header; a longer text is cut.
std::vector<std::uint8_t> render_telling(std::string_view text);
// Nothing for what is none. `payload` may be padded.
std::optional<std::string> parse_telling(std::span<const std::uint8_t> payload);

}  // namespace bondd::control
