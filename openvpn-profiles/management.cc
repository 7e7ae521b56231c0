#include "openvpn-profiles/management.h"

#include <algorithm>
#include <charconv>

namespace bondd::openvpn {
namespace {

// Cuts off the part before the next comma.
std::string_view next_field(std::string_view& rest) {
  const std::size_t comma = std::min(rest.find(','), rest.size());
  const std::string_view field = rest.substr(0, comma);
  rest.remove_prefix(std::min(comma + 1, rest.size()));
  return field;
}

bool is_number(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::optional<Message> parse_state(std::string_view rest) {
  std::uint64_t time = 0;
  if (!is_number(next_field(rest), time)) return std::nullopt;
  StateMessage out;
  out.state = next_field(rest);
  out.detail = next_field(rest);
  next_field(rest);  // the tunnel's address: bondd gives it none
  out.remote = next_field(rest);
  out.remote_port = next_field(rest);
  if (out.state.empty()) return std::nullopt;
  return out;
}

std::optional<Message> parse_byte_count(std::string_view rest) {
  ByteCount out;
  if (!is_number(next_field(rest), out.in) || !is_number(next_field(rest), out.out)) return std::nullopt;
  return out;
}

std::optional<Message> parse_log(std::string_view rest) {
  std::uint64_t time = 0;
  if (!is_number(next_field(rest), time)) return std::nullopt;
  LogMessage out;
  out.flags = next_field(rest);
  out.text = rest;
  return out;
}

std::optional<Message> parse_real_time(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view kind = line.substr(1, colon - 1), rest = line.substr(colon + 1);
  if (kind == "STATE") return parse_state(rest);
  if (kind == "BYTECOUNT") return parse_byte_count(rest);
  if (kind == "LOG") return parse_log(rest);
  if (kind == "FATAL") return FatalMessage{std::string(rest)};
  if (kind == "HOLD") return HoldMessage{};
  return std::nullopt;
}

constexpr std::string_view kSuccess = "SUCCESS: ", kError = "ERROR: ";

}  // namespace

Message parse_message(std::string_view line) {
  if (line.starts_with('>')) {
    if (std::optional<Message> message = parse_real_time(line)) return *std::move(message);
  } else if (line.starts_with(kSuccess)) {
    return Answer{true, std::string(line.substr(kSuccess.size()))};
  } else if (line.starts_with(kError)) {
    return Answer{false, std::string(line.substr(kError.size()))};
  }
  return OtherMessage{std::string(line)};
}

std::vector<Message> MessageReader::feed(std::string_view bytes) {
  std::vector<Message> out;
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    partial_ += part.substr(0, kLineMax - std::min(kLineMax, partial_.size()));
    if (end == std::string_view::npos) break;
    bytes.remove_prefix(end + 1);
    if (!partial_.empty() && partial_.back() == '\r') partial_.pop_back();
    if (!partial_.empty()) out.push_back(parse_message(partial_));
    partial_.clear();
  }
  return out;
}

std::string_view render(Command command) {
  switch (command) {
    case Command::kStateOn:
      return "state on all\n";
    case Command::kLogOn:
      return "log on\n";
    case Command::kByteCountOn:
      return "bytecount 1\n";
    case Command::kHoldRelease:
      return "hold release\n";
    case Command::kSignalTerm:
      return "signal SIGTERM\n";
    case Command::kQuit:
      return "quit\n";
  }
  return {};
}

}  // namespace bondd::openvpn
