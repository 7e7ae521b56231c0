// openvpn's management protocol: lines of text on a unix socket. Parses what the
// process says, from bytes as they come; renders what is asked. The process runs
// unprivileged and may be hostile: nothing here trusts it.
// See openvpn's doc/management-notes.txt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bondd::openvpn {

// ">STATE:1700000000,CONNECTED,SUCCESS,10.8.0.2,203.0.113.10,1194,,"
struct StateMessage {
  std::string state;   // CONNECTING, WAIT, AUTH, CONNECTED, RECONNECTING, EXITING …
  std::string detail;  // of RECONNECTING and EXITING: why, such as "tls-error"
  std::string remote, remote_port;
  auto operator<=>(const StateMessage&) const = default;
};
// ">BYTECOUNT:1000,2000"
struct ByteCount {
  std::uint64_t in = 0, out = 0;
  auto operator<=>(const ByteCount&) const = default;
};
// ">LOG:1700000000,W,text". Flags: I information, W warning, N non-fatal error, F fatal error, D debug.
struct LogMessage {
  std::string flags, text;
  auto operator<=>(const LogMessage&) const = default;
};
// ">FATAL:text": it is about to end.
struct FatalMessage {
  std::string text;
  auto operator<=>(const FatalMessage&) const = default;
};
// ">HOLD:Waiting for hold release:0"
struct HoldMessage {
  auto operator<=>(const HoldMessage&) const = default;
};
// "SUCCESS: …" and "ERROR: …", the answers to commands.
struct Answer {
  bool success = false;
  std::string text;
  auto operator<=>(const Answer&) const = default;
};
// A real-time message of another kind, or a line of a longer answer.
struct OtherMessage {
  std::string text;
  auto operator<=>(const OtherMessage&) const = default;
};

using Message =
    std::variant<StateMessage, ByteCount, LogMessage, FatalMessage, HoldMessage, Answer, OtherMessage>;

// One line without its end. A known kind that is not well formed is an OtherMessage.
Message parse_message(std::string_view line);

// Cuts a stream into messages. Of a line longer than kLineMax the rest is dropped.
class MessageReader {
 public:
  static constexpr std::size_t kLineMax = 2048;
  std::vector<Message> feed(std::string_view bytes);

 private:
  std::string partial_;
};

enum class Command : std::uint8_t { kStateOn, kLogOn, kByteCountOn, kHoldRelease, kSignalTerm, kQuit };
// With its line end.
std::string_view render(Command command);

}  // namespace bondd::openvpn
