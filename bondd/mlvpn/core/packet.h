// Packet memory. One pool of fixed buffers per engine; a PacketRef is a cheap
// handle to some bytes, either in a pool buffer or borrowed from somebody's
// receive slab.
//
//   pool buffer (2048 bytes)
//   | head-room 64                    | payload …              | spare |
//   |        20 | header 28 | MAC 16  |
//               ^ a sealed datagram starts here, in place
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace bondd::mlvpn {

inline constexpr std::size_t kBufferSize = 2048;
// Bytes before the payload: the wire's header and MAC (44), or a virtio header.
inline constexpr std::size_t kHeadroom = 64;
// The longest payload that fits an encrypted datagram that upstream peers take
// (1500 bytes of UDP payload).
inline constexpr std::size_t kMaxPayload = 1456;
// A packet of at most so many bytes is no part of bulk: a call, a game, a question.
inline constexpr std::size_t kSmall = 200;

// Handle of a packet: where its bytes are and whose they are. Copying it does
// not copy the packet; exactly one holder gives it back with Engine::recycle.
struct PacketRef {
  static constexpr std::uint32_t kBorrowed = ~std::uint32_t{0};

  std::uint8_t* data = nullptr;
  std::uint32_t size = 0;
  std::uint32_t index = kBorrowed;  // the pool's buffer, or kBorrowed

  [[nodiscard]] bool borrowed() const { return index == kBorrowed; }
  [[nodiscard]] std::span<std::uint8_t> bytes() const { return {data, size}; }
};

class BufferPool {
 public:
  // Memory is touched only as buffers are used; the one given back last is
  // taken first, so that a quiet engine stays small and warm.
  explicit BufferPool(std::size_t buffers);

  // A buffer whose `data` stands at the payload's place and whose size is 0;
  // nothing when the pool is empty.
  std::optional<PacketRef> take();
  // Gives a buffer back; a borrowed packet is nobody's to give back and ignored.
  void give(const PacketRef& packet);

  [[nodiscard]] std::uint8_t* payload(std::uint32_t index) const {
    return memory_.get() + std::size_t{index} * kBufferSize + kHeadroom;
  }
  [[nodiscard]] std::size_t free_buffers() const { return free_.size(); }
  [[nodiscard]] std::size_t buffers() const { return buffers_; }

 private:
  std::size_t buffers_;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::vector<std::uint32_t> free_;
};

}  // namespace bondd::mlvpn
