#include "bondd/mlvpn/io/tun_reader.h"

#include <algorithm>
#include <cstring>

namespace bondd::mlvpn {

TunReader::TunReader(TunDevice& tun, BufferPool& pool)
    : tun_(tun), pool_(pool), buffer_(TunDevice::kMaxRead) {
  slots_.reserve(kMaxSlots);
  slices_.reserve(kMaxSlots + 2);
}

std::size_t TunReader::read(std::span<PacketRef> out, std::size_t& reads) {
  std::size_t count = 0;
  while (count < out.size()) {
    if (next_ >= plan_.count()) {
      if (reads == 0 || !readable_ || gone_) break;
      --reads;
      if (!read_packet()) break;
    }
    const std::size_t handed = hand_out(out.subspan(count));
    if (handed == 0 && next_ < plan_.count()) break;  // the pool is empty
    count += handed;
  }
  return count;
}

// False when there is nothing to read now. A packet that cannot be cut counts
// as read.
bool TunReader::read_packet() {
  next_ = 0;
  plan_ = SegmentPlan();
  lay_out();
  if (laid_out_ == 0) return false;
  std::size_t size = 0;
  const TunDevice::Status status = tun_.read_scattered(vnet_, slices_, size);
  ++counters_.reads;
  if (status != TunDevice::Status::kOk) {
    gone_ = status == TunDevice::Status::kGone;
    readable_ = status == TunDevice::Status::kDropped;
    return readable_;
  }
  take_scattered(vnet_, size);
  if (plan_.error() == SegmentError::kTooLarge) ++counters_.oversize;
  if (plan_.error() == SegmentError::kMalformed || plan_.error() == SegmentError::kUnknownGso) {
    ++counters_.malformed;
  }
  return true;
}

// The slices of the next read. No slots when the pool is empty.
void TunReader::lay_out() {
  const std::size_t wanted =
      header_size_ == 0 ? 1 : std::min(kMaxSlots, (TunDevice::kMaxRead - header_size_) / gso_size_ + 1);
  laid_out_ = fill_slots(wanted) ? wanted : 0;
  slices_.clear();
  slices_.push_back({&vnet_, sizeof(vnet_)});
  for (std::size_t i = 0; i < laid_out_; ++i) {
    const std::size_t skip = i == 0 ? 0 : header_size_;
    slices_.push_back({slots_[i].data + skip, header_size_ + gso_size_ - skip});
  }
  // Behind the space that gather() fills from the slots.
  const std::size_t covered = header_size_ + laid_out_ * gso_size_;
  if (covered < buffer_.size()) slices_.push_back({buffer_.data() + covered, buffer_.size() - covered});
}

bool TunReader::fill_slots(std::size_t count) {
  while (slots_.size() < count) {
    const auto buffer = pool_.take();
    if (!buffer) return false;
    slots_.push_back(*buffer);
  }
  return true;
}

void TunReader::take_scattered(const VnetHeader& header, std::size_t size) {
  const std::size_t first = std::min(size, header_size_ + gso_size_);
  const std::span head{slots_[0].data, first};
  if (header.gso_type == kGsoNone) {
    in_slots_ = size == first;
    if (!in_slots_) gather(size);
    if (++singles_ == kSinglesInARow) {
      header_size_ = 0;
      gso_size_ = kMaxPayload;
    }
    plan_ = SegmentPlan::make(tun_.kind(), header, in_slots_ ? head : std::span{buffer_}.first(size),
                              kMaxPayload);
    return;
  }
  singles_ = 0;
  plan_ = SegmentPlan::make_scattered(tun_.kind(), header, head, size, kMaxPayload);
  in_slots_ = plan_.error() == SegmentError::kNone && plan_.header_size() == header_size_ &&
              plan_.gso_size() == gso_size_ && plan_.count() <= laid_out_;
  if (in_slots_) return;
  gather(size);
  ++counters_.gathered;
  plan_ = SegmentPlan::make(tun_.kind(), header, std::span{buffer_}.first(size), kMaxPayload);
  if (plan_.error() != SegmentError::kNone) return;
  header_size_ = plan_.header_size();
  gso_size_ = plan_.gso_size();
}

// Puts the packet into one piece; what overflowed stands there already.
void TunReader::gather(std::size_t size) {
  std::size_t at = 0;
  for (std::size_t i = 1; i <= laid_out_ && at < size; ++i) {
    const std::size_t part = std::min(slices_[i].iov_len, size - at);
    std::memcpy(buffer_.data() + at, slices_[i].iov_base, part);
    at += part;
  }
}

std::size_t TunReader::hand_out(std::span<PacketRef> out) {
  const std::size_t count = std::min(out.size(), plan_.count() - next_);
  std::size_t handed = 0;
  for (; handed < count; ++handed) {
    PacketRef packet;
    if (in_slots_) {
      packet = slots_[next_];
      plan_.write_headers(next_, packet.data);
    } else {
      const auto buffer = pool_.take();
      if (!buffer) break;
      packet = *buffer;
      plan_.write(next_, packet.data);
    }
    packet.size = static_cast<std::uint32_t>(plan_.size(next_++));
    counters_.bytes += packet.size;
    out[handed] = packet;
  }
  counters_.packets += handed;
  if (in_slots_ && next_ == plan_.count()) {
    slots_.erase(slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(next_));
  }
  return handed;
}

}  // namespace bondd::mlvpn
