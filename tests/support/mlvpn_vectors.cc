#include "tests/support/mlvpn_vectors.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace bondd::mlvpn::test {
namespace {

const std::filesystem::path kDirectory =
    std::filesystem::path(BONDD_SOURCE_DIR) / "tests/golden/mlvpn-vectors";

std::uint32_t le32(const Bytes& b, std::size_t at) {
  return b.at(at) | b.at(at + 1) << 8 | b.at(at + 2) << 16 | static_cast<std::uint32_t>(b.at(at + 3)) << 24;
}
std::uint32_t be16(const Bytes& b, std::size_t at) {
  return static_cast<std::uint32_t>(b.at(at) << 8 | b.at(at + 1));
}

std::string ip_text(const Bytes& b, std::size_t at) {
  std::string text;
  for (std::size_t i = 0; i < 4; ++i) text += (i ? "." : "") + std::to_string(b.at(at + i));
  return text;
}

// Ethernet, IPv4, UDP: all that the captures hold besides ARP and the like.
std::vector<CapturedDatagram> read_pcap(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const Bytes b{std::istreambuf_iterator<char>(file), {}};
  if (le32(b, 0) != 0xa1b2c3d4 || le32(b, 20) != 1) throw std::runtime_error(path.string() + ": not a pcap");
  std::vector<CapturedDatagram> out;
  std::map<std::string, Bytes> partial;  // IP payload by source, destination and id
  for (std::size_t at = 24; at + 16 <= b.size();) {
    const double time = le32(b, at) + le32(b, at + 4) * 1e-6;
    const std::size_t size = le32(b, at + 8), frame = at + 16, ip = frame + 14;
    at = frame + size;
    if (be16(b, frame + 12) != 0x0800 || b.at(ip + 9) != 17) continue;
    const std::size_t header = (b.at(ip) & 15) * 4U, total = be16(b, ip + 2);
    const std::uint32_t fragment = be16(b, ip + 6);
    const std::string key =
        ip_text(b, ip + 12) + ">" + ip_text(b, ip + 16) + "#" + std::to_string(be16(b, ip + 4));
    Bytes payload(b.begin() + static_cast<std::ptrdiff_t>(ip + header),
                  b.begin() + static_cast<std::ptrdiff_t>(ip + total));
    if (const bool more = (fragment & 0x2000) != 0; more || (fragment & 0x1fff) != 0) {
      Bytes& whole = partial[key];
      const std::size_t offset = (fragment & 0x1fff) * 8U;
      if (whole.size() < offset + payload.size()) whole.resize(offset + payload.size());
      std::copy(payload.begin(), payload.end(), whole.begin() + static_cast<std::ptrdiff_t>(offset));
      if (more) continue;
      payload = whole;
    }
    out.push_back({time, ip_text(b, ip + 12) + ":" + std::to_string(be16(payload, 0)),
                   ip_text(b, ip + 16) + ":" + std::to_string(be16(payload, 2)),
                   Bytes(payload.begin() + 8, payload.end())});
  }
  return out;
}

}  // namespace

Bytes from_hex(const std::string& hex) {
  Bytes out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

const nlohmann::json& known_answers() {
  static const nlohmann::json answers = [] {
    std::ifstream file(kDirectory / "known-answers.json");
    return nlohmann::json::parse(file);
  }();
  return answers;
}

std::map<std::string, std::vector<CapturedDatagram>> captures() {
  std::map<std::string, std::vector<CapturedDatagram>> out;
  for (const auto& entry : std::filesystem::directory_iterator(kDirectory)) {
    if (entry.path().extension() == ".pcap") out[entry.path().stem().string()] = read_pcap(entry.path());
  }
  return out;
}

}  // namespace bondd::mlvpn::test
