// Loads the captures and known answers under tests/golden/mlvpn-vectors.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bondd::mlvpn::test {

using Bytes = std::vector<std::uint8_t>;

// One UDP payload of a capture, IP fragments put together again.
struct CapturedDatagram {
  double time_s = 0;
  std::string from, to;  // "10.201.1.1:5081"
  Bytes payload;
};

Bytes from_hex(const std::string& hex);
const nlohmann::json& known_answers();
// By the file's stem, in order of time. Throws when a file is damaged.
std::map<std::string, std::vector<CapturedDatagram>> captures();

}  // namespace bondd::mlvpn::test
