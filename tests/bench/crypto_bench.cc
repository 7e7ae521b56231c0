// Nanoseconds per packet of sealing and opening, for each implementation, and of libsodium's secretbox
// and AEADs beside it: why session keys use XSalsa20-Poly1305, too.  crypto_bench [SIZE]
#include <fmt/format.h>
#include <sodium.h>

#include <cstdlib>
#include <ctime>
#include <vector>

#include "bondd/mlvpn/core/crypto.h"
#include "bondd/mlvpn/core/salsa.h"
#include "bondd/mlvpn/core/wire.h"

namespace {

using namespace bondd::mlvpn;

constexpr int kPackets = 64;
constexpr int kTurns = 3000;

template <typename F>
double per_packet_ns(F&& work) {
  work();
  const std::clock_t start = std::clock();  // CPU time: what a busy machine takes away does not count
  for (int i = 0; i < kTurns; ++i) work();
  return static_cast<double>(std::clock() - start) * (1e9 / CLOCKS_PER_SEC) / (kTurns * kPackets);
}

}  // namespace

int main(int argc, char** argv) {
  if (sodium_init() < 0) return 1;
  const std::uint32_t size = argc > 1 ? static_cast<std::uint32_t>(std::atoi(argv[1])) : 1400;
  std::vector<std::vector<std::uint8_t>> packets(kPackets, std::vector<std::uint8_t>(size + kMacSize, 7));
  std::uint8_t key[32] = {1}, nonce[24] = {2};
  const double sodium = per_packet_ns([&] {
    for (auto& p : packets) {
      crypto_secretbox_detached(p.data() + 16, p.data(), p.data() + 16, size, nonce, key);
    }
  });
  fmt::print("libsodium secretbox: seal {:.0f} ns\n", sodium);
  const double chacha = per_packet_ns([&] {
    for (auto& p : packets) {
      crypto_aead_chacha20poly1305_ietf_encrypt_detached(p.data() + 16, p.data(), nullptr, p.data() + 16,
                                                         size, nullptr, 0, nullptr, nonce, key);
    }
  });
  fmt::print("libsodium ChaCha20-Poly1305: seal {:.0f} ns\n", chacha);
  if (crypto_aead_aes256gcm_is_available() != 0) {
    crypto_aead_aes256gcm_state state;
    crypto_aead_aes256gcm_beforenm(&state, key);
    const double aes = per_packet_ns([&] {
      for (auto& p : packets) {
        crypto_aead_aes256gcm_encrypt_detached_afternm(p.data() + 16, p.data(), nullptr, p.data() + 16, size,
                                                       nullptr, 0, nullptr, nonce, &state);
      }
    });
    fmt::print("libsodium AES-256-GCM: seal {:.0f} ns\n", aes);
  }
  const SalsaOps* all[kMaxSalsaOps];
  for (std::size_t k = 0, n = all_salsa_ops(all); k < n; ++k) {
    SalsaNonce nonces[kSalsaBatch] = {};
    SalsaStream streams[kSalsaBatch];
    const double start = per_packet_ns([&] {
      for (std::size_t i = 0; i < kPackets; i += kSalsaBatch)
        all[k]->start(key, nonces, kSalsaBatch, streams);
    });
    const double text = per_packet_ns([&] {
      for (auto& p : packets) salsa_xor(*all[k], streams[0], p.data() + 16, size);
    });
    fmt::print("{}: start {:.0f} ns, text {:.0f} ns\n", all[k]->name, start, text);
  }
  SecretBox box(SecretKey::from_bytes(key));
  std::vector<BoxJob> jobs;
  for (auto& p : packets) jobs.push_back({p.data(), size, 1, jobs.size(), false});
  const double seal = per_packet_ns([&] { box.seal(jobs); });
  double open = per_packet_ns([&] {
    box.seal(jobs);
    box.open(jobs);
  });
  open -= seal;
  fmt::print("{} bytes, {}: seal {:.0f} ns, open {:.0f} ns\n", size, box.implementation(), seal, open);
  return jobs.back().ok ? 0 : 1;
}
