// Random numbers that are the same on every machine: a run is its seed.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace bondd::sim {

// xoshiro256** seeded by splitmix64. std::normal_distribution may differ between
// libraries, so the distributions are written out here.
class Random {
 public:
  explicit Random(std::uint64_t seed) {
    for (auto& word : state_) {
      seed += 0x9e3779b97f4a7c15U;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
      word = z ^ (z >> 31);
    }
  }

  std::uint64_t next() {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  // In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  bool happens(double probability) { return probability > 0 && uniform() < probability; }

  // Normal with mean 0 and deviation 1, cut at four deviations as netem's table is.
  double normal() {
    const double u = 1.0 - uniform();
    const double r = std::sqrt(-2.0 * std::log(u));
    const double z = r * std::cos(2.0 * std::numbers::pi * uniform());
    return z < -4 ? -4 : z > 4 ? 4 : z;
  }

 private:
  static std::uint64_t rotate(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::uint64_t state_[4]{};
};

}  // namespace bondd::sim
