// What an openvpn process may say on its management socket, in any pieces.
#include <cstdint>
#include <string_view>

#include "openvpn-profiles/management.h"
#include "tests/fuzz/check.h"

using bondd::openvpn::Message;
using bondd::openvpn::MessageReader;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  MessageReader whole, bytewise;
  const std::vector<Message> at_once = whole.feed(all);
  std::vector<Message> in_pieces;
  for (const char c : all) {
    for (Message& message : bytewise.feed({&c, 1})) in_pieces.push_back(std::move(message));
  }
  FUZZ_CHECK(at_once == in_pieces);
  return 0;
}
