#include "bondd/mlvpn/session/hello.h"

#include <sodium.h>

#include <algorithm>
#include <concepts>

namespace bondd::mlvpn {
namespace {

struct Writer {
  std::uint8_t* at;
  void put(std::uint64_t value, unsigned bytes) {
    for (; bytes > 0; --bytes) *at++ = static_cast<std::uint8_t>(value >> (8 * (bytes - 1)));
  }
};

struct Reader {
  const std::uint8_t* at;
  std::uint64_t get(unsigned bytes) {
    std::uint64_t value = 0;
    for (; bytes > 0; --bytes) value = value << 8 | *at++;
    return value;
  }
  std::uint32_t get32() { return static_cast<std::uint32_t>(get(4)); }
};

void put_common(Writer& out, const Hello& hello) {
  out.put(hello.receive_id, 4);
  out.put(hello.continues, 4);
  out.put(hello.capabilities, 4);
  out.put(hello.name, 8);
}

void get_common(Reader& in, Hello& hello) {
  hello.receive_id = in.get32();
  hello.continues = in.get32();
  hello.capabilities = in.get32();
  hello.name = in.get(8);
}

}  // namespace

std::array<std::uint8_t, kHelloPayload> render_hello(const Hello& hello) {
  std::array<std::uint8_t, kHelloPayload> payload;
  Writer out{payload.data()};
  out.put(hello.time_us, 8);
  put_common(out, hello);
  return payload;
}

std::array<std::uint8_t, kReplyPayload> render_reply(const Hello& reply) {
  std::array<std::uint8_t, kReplyPayload> payload;
  Writer out{payload.data()};
  put_common(out, reply);
  return payload;
}

std::optional<Hello> parse_hello(std::span<const std::uint8_t> payload) {
  if (payload.size() < kHelloPayload) return std::nullopt;
  Reader in{payload.data()};
  Hello hello;
  hello.time_us = in.get(8);
  get_common(in, hello);
  return hello;
}

std::optional<Hello> parse_reply(std::span<const std::uint8_t> payload) {
  if (payload.size() < kReplyPayload) return std::nullopt;
  Reader in{payload.data()};
  Hello reply;
  get_common(in, reply);
  return reply;
}

std::uint64_t name_hash(std::string_view name) {
  std::array<std::uint8_t, crypto_generichash_BYTES_MIN> hash;
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(name.data()),
                     name.size(), nullptr, 0);
  return Reader{hash.data()}.get(8);
}

}  // namespace bondd::mlvpn
