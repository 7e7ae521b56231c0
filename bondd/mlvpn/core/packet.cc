#include "bondd/mlvpn/core/packet.h"

#include <cassert>

namespace bondd::mlvpn {

BufferPool::BufferPool(std::size_t buffers)
    : buffers_(buffers), memory_(new std::uint8_t[buffers * kBufferSize]) {
  free_.reserve(buffers);
  for (std::size_t i = buffers; i > 0; --i) free_.push_back(static_cast<std::uint32_t>(i - 1));
}

std::optional<PacketRef> BufferPool::take() {
  if (free_.empty()) return std::nullopt;
  const std::uint32_t index = free_.back();
  free_.pop_back();
  return PacketRef{payload(index), 0, index};
}

void BufferPool::give(const PacketRef& packet) {
  if (packet.borrowed()) return;
  assert(packet.index < buffers_ && free_.size() < buffers_);
  free_.push_back(packet.index);
}

}  // namespace bondd::mlvpn
