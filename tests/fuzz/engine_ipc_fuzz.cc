// What bondd-engine says to its supervisor, which has rights that the engine has not:
// reports are read as if the engine had been taken over. Requests too, for good measure.
#include <cstdint>
#include <string_view>

#include "bondd/ipc/engine_protocol.h"
#include "tests/fuzz/check.h"

using namespace bondd::ipc;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto report = parse_report(text)) FUZZ_CHECK(parse_report(render(*report)).has_value());
  if (const auto request = parse_request(text)) FUZZ_CHECK(parse_request(render(*request)).has_value());
  return 0;
}
