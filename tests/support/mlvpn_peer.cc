#include "tests/support/mlvpn_peer.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace bondd::mlvpn::test {
namespace {

std::array<std::uint8_t, 32> key_of(const std::string& password) {
  std::array<std::uint8_t, 32> key;
  crypto_generichash(key.data(), key.size(), reinterpret_cast<const unsigned char*>(password.data()),
                     password.size(), nullptr, 0);
  return key;
}

void put_be(Bytes& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

std::uint64_t get_be(const Bytes& in, std::size_t at, int bytes) {
  std::uint64_t v = 0;
  for (int i = 0; i < bytes; ++i) v = v << 8 | in.at(at + static_cast<std::size_t>(i));
  return v;
}

std::array<std::uint8_t, 24> nonce_of(std::uint64_t seq, std::uint32_t flow) {
  std::array<std::uint8_t, 24> nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[i] = static_cast<std::uint8_t>(seq >> (8 * i));
  for (std::size_t i = 0; i < 4; ++i) nonce[8 + i] = static_cast<std::uint8_t>(flow >> (8 * i));
  return nonce;
}

}  // namespace

Bytes encode(const PeerPacket& p, bool clear, const std::string& password) {
  const bool plain = clear && p.type == kData;
  Bytes out;
  put_be(out, p.text.size() + (plain ? 0U : 16U), 2);
  out.push_back(static_cast<std::uint8_t>(p.version | (p.type & 15) << 4));
  out.push_back(static_cast<std::uint8_t>(p.type >> 4 | (p.reorder ? 4 : 0)));
  put_be(out, p.timestamp, 2);
  put_be(out, p.timestamp_reply, 2);
  put_be(out, p.flow, 4);
  put_be(out, p.seq, 8);
  put_be(out, p.data_seq, 8);
  if (plain) {
    out.insert(out.end(), p.text.begin(), p.text.end());
    return out;
  }
  Bytes box(p.text.size() + crypto_secretbox_MACBYTES);
  crypto_secretbox_easy(box.data(), p.text.data(), p.text.size(), nonce_of(p.seq, p.flow).data(),
                        key_of(password).data());
  out.insert(out.end(), box.begin(), box.end());
  return out;
}

std::optional<PeerPacket> decode(const Bytes& d, bool clear, const std::string& password) {
  if (d.size() < 28 || get_be(d, 0, 2) != d.size() - 28) return std::nullopt;
  PeerPacket p;
  p.version = d[2] & 15;
  p.type = d[2] >> 4 | (d[3] & 3) << 4;
  p.reorder = (d[3] & 4) != 0;
  p.timestamp = static_cast<std::uint16_t>(get_be(d, 4, 2));
  p.timestamp_reply = static_cast<std::uint16_t>(get_be(d, 6, 2));
  p.flow = static_cast<std::uint32_t>(get_be(d, 8, 4));
  p.seq = get_be(d, 12, 8);
  p.data_seq = get_be(d, 20, 8);
  if (clear && p.type == kData) {
    p.text.assign(d.begin() + 28, d.end());
    return p;
  }
  if (d.size() < 44) return std::nullopt;
  p.text.resize(d.size() - 44);
  if (crypto_secretbox_open_easy(p.text.data(), d.data() + 28, d.size() - 28, nonce_of(p.seq, p.flow).data(),
                                 key_of(password).data()) != 0) {
    return std::nullopt;
  }
  return p;
}

Bytes PeerFlowState::make(int type, const Bytes& body, std::uint64_t data_seq, bool clear,
                          std::uint16_t echo) {
  PeerPacket p;
  p.type = type;
  p.flow = flow;
  p.seq = seq++;
  p.data_seq = data_seq;
  p.timestamp = static_cast<std::uint16_t>(seq);
  p.timestamp_reply = echo;
  p.text = body;
  return encode(p, clear);
}

Bytes text(const std::string& s) {
  return {s.begin(), s.end()};
}

Endpoint endpoint(const std::string& ip, std::uint16_t port) {
  return {parse_ip(ip).value(), port};
}

EngineConfig engine_config(Role role, std::uint8_t seed) {
  EngineConfig config;
  config.role = role;
  config.seed.fill(seed);
  config.wall_clock_us = 1'800'000'000'000'000 + seed * std::uint64_t{1'000'000};
  config.pool_buffers = 2048;
  config.reorder_packets = 512;
  return config;
}

Secrets password_only(const std::string& password) {
  return SecretKey::from_password({reinterpret_cast<const std::uint8_t*>(password.data()), password.size()});
}

Secrets with_sessions(const std::string& password) {
  Secrets secrets = password_only(password);
  secrets.psk = SecretKey::from_bytes(key_of("handshake of " + password));
  return secrets;
}

Rig::Rig(EngineConfig config, const std::string& password) : Rig(config, password_only(password)) {}

Rig::Rig(EngineConfig config, Secrets secrets) : clear(config.clear_data) {
  engine = std::make_unique<Engine>(now, config, std::move(secrets));
}

void Rig::receive(LinkId path, const Endpoint& from, const std::vector<Bytes>& datagrams) {
  std::vector<Bytes> slab = datagrams;
  std::vector<ReceivedRun> runs;
  for (Bytes& d : slab) runs.push_back({from, d, static_cast<std::uint32_t>(d.size())});
  engine->handle_datagrams(now, path, runs);
  collect();
  engine->end_round();
  for (Bytes& d : slab) std::fill(d.begin(), d.end(), 0xee);  // the receive memory is reused
}

void Rig::from_tun(const Bytes& packet) {
  auto buffer = engine->pool().take();
  if (!buffer) throw std::runtime_error("no buffer");
  std::copy(packet.begin(), packet.end(), buffer->data);
  buffer->size = static_cast<std::uint32_t>(packet.size());
  engine->handle_packets(now, {&*buffer, 1});
  collect();
}

void Rig::collect() {
  Transmit t;
  while (engine->poll_transmit(now, t)) {
    for (const PacketRef& p : t.packets)
      sent.push_back({t.link, t.path, t.to, Bytes(p.data, p.data + p.size)});
    engine->recycle(t.packets);
  }
  std::array<PacketRef, 16> out;
  while (const std::size_t n = engine->poll_deliver(out)) {
    for (std::size_t i = 0; i < n; ++i) delivered.emplace_back(out[i].data, out[i].data + out[i].size);
    engine->recycle(std::span(out).first(n));
  }
  while (auto event = engine->poll_event()) events.push_back(*event);
}

void Rig::run_for(Duration duration) {
  const TimePoint end = now + duration;
  collect();
  for (int turns = 0;; ++turns) {
    if (turns > 1'000'000) throw std::runtime_error("the engine spins");
    const auto at = engine->poll_timeout();
    if (!at || *at > end) break;
    now = std::max(now, *at);
    engine->handle_timeout(now);
    collect();
  }
  now = end;
  engine->handle_timeout(now);
  collect();
}

std::vector<PeerPacket> Rig::take_sent(std::optional<LinkId> link) {
  std::vector<PeerPacket> out;
  std::vector<Sent> rest;
  for (const Sent& s : sent) {
    if (link && s.link != *link) {
      rest.push_back(s);
      continue;
    }
    const auto p = decode(s.bytes, clear);
    if (!p) throw std::runtime_error("the engine sent what the independent peer cannot read");
    out.push_back(*p);
  }
  sent = rest;
  return out;
}

LinkStats Rig::stats(LinkId link) {
  for (const LinkStats& s : engine->link_stats(now)) {
    if (s.id == link) return s;
  }
  throw std::runtime_error("no such link");
}

LinkState Rig::state(LinkId link) {
  return stats(link).state;
}

}  // namespace bondd::mlvpn::test
