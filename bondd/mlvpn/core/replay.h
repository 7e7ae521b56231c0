// A sliding window over the sequence numbers of one flow: which were seen.
// Blocks of 64 bits in a ring, cleared as the window moves (RFC 6479).
#pragma once

#include <array>
#include <cstdint>

namespace bondd::mlvpn {

class ReplayWindow {
 public:
  // Distances up to this from the newest are told apart; older counts as seen.
  static constexpr std::uint64_t kReach = 4096 - 64;

  // Whether `seq` was not seen yet and is not too old to know.
  [[nodiscard]] bool fresh(std::uint64_t seq) const {
    if (!started_ || seq > newest_) return true;
    if (newest_ - seq > kReach) return false;
    return (blocks_[block(seq)] >> (seq & 63) & 1) == 0;
  }

  // Marks `seq`; false when it was not fresh. Call only after its MAC was checked.
  bool accept(std::uint64_t seq) {
    if (!fresh(seq)) return false;
    if (!started_ || seq > newest_) advance(seq);
    blocks_[block(seq)] |= std::uint64_t{1} << (seq & 63);
    return true;
  }

  // Marks `seq` and all before it: a flow that is first heard now said nothing before.
  void begin(std::uint64_t seq) {
    blocks_.fill(~std::uint64_t{0});
    blocks_[block(seq)] = ~std::uint64_t{0} >> (63 - (seq & 63));
    newest_ = seq;
    started_ = true;
  }

  [[nodiscard]] std::uint64_t newest() const { return newest_; }
  [[nodiscard]] bool started() const { return started_; }

 private:
  static constexpr std::size_t kBlocks = 64;
  static std::size_t block(std::uint64_t seq) { return (seq >> 6) % kBlocks; }

  void advance(std::uint64_t seq) {
    const std::uint64_t steps = started_ ? (seq >> 6) - (newest_ >> 6) : kBlocks;
    if (steps >= kBlocks) {
      blocks_.fill(0);
    } else {
      for (std::uint64_t i = 1; i <= steps; ++i) blocks_[block(newest_ + i * 64)] = 0;
    }
    newest_ = seq;
    started_ = true;
  }

  std::array<std::uint64_t, kBlocks> blocks_{};
  std::uint64_t newest_ = 0;
  bool started_ = false;
};

}  // namespace bondd::mlvpn
