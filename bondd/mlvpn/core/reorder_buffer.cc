#include "bondd/mlvpn/core/reorder_buffer.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr Duration kMinPatience = 5ms;
constexpr auto kActive = 2s;  // a link that carried nothing for this long is not waited for
constexpr auto kForget = 3s;  // a measured spread counts for this long
constexpr auto kSlack = 2ms;
// data_seq is not authenticated. Numbers this far ahead, or too old to be known,
// are strays; this many in a row mean that the peer really counts there.
constexpr std::uint64_t kFarAhead = 1 << 16;
constexpr unsigned kStraysToReset = 16;

}  // namespace

ReorderBuffer::ReorderBuffer(std::size_t capacity, Duration max_wait, BufferPool& pool, Ring<PacketRef>& out)
    : pool_(pool),
      out_(out),
      max_wait_(max_wait),
      slots_(std::bit_ceil(std::max<std::size_t>(capacity, 64))),
      delivered_(slots_.size() / 64),
      mask_(slots_.size() - 1) {
  borrowed_.reserve(slots_.size());
}

Duration ReorderBuffer::patience() const {
  return std::clamp<Duration>(std::max(hint_, spread_ + spread_ / 4) + kSlack, kMinPatience, max_wait_);
}

void ReorderBuffer::mark(std::uint64_t seq, bool delivered) {
  const std::uint64_t bit = std::uint64_t{1} << (seq & 63);
  std::uint64_t& word = delivered_[(seq & mask_) >> 6];
  word = delivered ? word | bit : word & ~bit;
}

void ReorderBuffer::deliver(const PacketRef& packet) {
  if (packet.size == 0) return;  // has passed already
  if (out_.full()) {
    ++counters_.no_buffer;
    pool_.give(packet);
    return;
  }
  out_.push(packet);
}

void ReorderBuffer::insert(TimePoint now, LinkId link, std::uint64_t seq, const PacketRef& packet) {
  if (!started_) {
    started_ = true;
    start_ = next_ = seq;
  }
  LinkProgress& progress = links_[link];
  if (!progress.active) {
    progress = {std::min(seq, next_), now, true};
    active_ids_[active_count_++] = link;
  }
  progress.last = now;
  if (stray(seq)) {
    deliver(packet);
    return;
  }
  if (seq < next_) {
    late(now, progress, seq, packet);
    return;
  }
  if (seq < progress.newest) {
    // Out of order within one link: its own disorder.
    if (held_ > 0 && slot(first_held_).present) learn_disorder(now, now - slot(first_held_).arrived);
  } else {
    progress.newest = seq;
  }
  if (seq - next_ > mask_) {
    // Beyond what can be held: the oldest are given up.
    skip_to(seq - mask_);
  }
  if (seq == next_ && held_ == 0) {  // the common case
    mark(seq, true);
    ++next_;
    deliver(packet);
    return;
  }
  Slot& s = slot(seq);
  if (s.present) {
    ++counters_.duplicates;
    pool_.give(packet);
    return;
  }
  if (seq == next_) learn_spread(now, now - slot(first_held_).arrived);
  s = {packet, now, true};
  if (packet.borrowed() && packet.size != 0) borrowed_.push_back(seq);
  if (held_ == 0 || seq < first_held_) first_held_ = seq;
  ++held_;
  if (seq == next_) release_run();
}

bool ReorderBuffer::pass(TimePoint now, LinkId link, std::uint64_t seq) {
  const std::uint64_t before = counters_.duplicates;
  insert(now, link, seq, PacketRef{});  // of no bytes: a place, see deliver
  return counters_.duplicates == before;
}

// Whether `seq` is out of all proportion. It is then delivered as it comes and
// moves nothing, so that one forged number cannot lose a later packet.
bool ReorderBuffer::stray(std::uint64_t seq) {
  const bool far = seq >= next_ ? seq - next_ > kFarAhead : next_ - seq > mask_;
  if (!far) {
    strays_ = 0;
    return false;
  }
  if (++strays_ < kStraysToReset) return true;
  strays_ = 0;
  reset();
  return true;
}

void ReorderBuffer::late(TimePoint now, const LinkProgress& progress, std::uint64_t seq,
                         const PacketRef& packet) {
  if (seq >= start_ && was_delivered(seq)) {
    ++counters_.duplicates;
    pool_.give(packet);
    return;
  }
  ++counters_.late;
  if (seq >= start_) {
    mark(seq, true);
    // It was given up too early: wait longer next time.
    if (progress.newest > seq) {
      learn_disorder(now, std::max<Duration>(kSlack, disorder_ * 3 / 2));
    } else {
      learn_spread(now, std::min(max_wait_, patience() + patience() / 4));
    }
  } else {
    // Sent before the number that happened to come first.
    for (std::uint64_t s = seq; s < start_; ++s) mark(s, false);
    start_ = seq;
    mark(seq, true);
  }
  deliver(packet);
}

// Releases the unbroken run of held packets at next_.
void ReorderBuffer::release_run() {
  while (held_ > 0 && slot(next_).present) {
    Slot& s = slot(next_);
    deliver(s.packet);
    s.present = false;
    --held_;
    mark(next_, true);
    ++next_;
  }
  if (held_ > 0) find_first_held();
}

void ReorderBuffer::find_first_held() {
  first_held_ = next_;
  while (!slot(first_held_).present) ++first_held_;
}

// Gives up every hole before `seq` and releases what is held before it, and the
// run that starts there.
void ReorderBuffer::skip_to(std::uint64_t seq) {
  const std::uint64_t span = seq - next_;
  const std::uint64_t walk = std::min<std::uint64_t>(span, mask_ + 1);
  std::uint64_t at = next_;
  for (std::uint64_t i = 0; i < walk; ++i, ++at) {
    Slot& s = slot(at);
    if (s.present) {
      deliver(s.packet);
      s.present = false;
      --held_;
      mark(at, true);
    } else {
      mark(at, false);
      ++counters_.holes_lost;
    }
  }
  counters_.holes_lost += span - walk;
  if (span > walk) std::fill(delivered_.begin(), delivered_.end(), 0);
  next_ = seq;
  if (next_ - start_ > mask_) start_ = next_ - mask_;
  if (held_ > 0) find_first_held();
  release_run();
}

// The lowest of what the links that carry traffic have reached.
std::uint64_t ReorderBuffer::oldest_progress(TimePoint now) const {
  std::uint64_t lowest = ~std::uint64_t{0};
  for (std::size_t i = 0; i < active_count_; ++i) {
    const LinkProgress& p = links_[active_ids_[i]];
    if (now - p.last <= kActive) lowest = std::min(lowest, p.newest);
  }
  return lowest;
}

void ReorderBuffer::settle(TimePoint now) {
  deadline_.reset();
  while (held_ > 0) {
    // Each link is past its newest number, so that what is before the lowest of
    // these can only come from disorder within a link.
    const std::uint64_t reached = oldest_progress(now);
    TimePoint give_up = slot(first_held_).arrived + patience();
    std::uint64_t to = first_held_;
    if (reached > next_) {
      if (!passed_at_ || passed_next_ != next_) {
        passed_at_ = now;
        passed_next_ = next_;
      }
      const Duration own = now - disorder_at_ > kForget ? Duration::zero() : disorder_ + disorder_ / 4;
      if (*passed_at_ + own < give_up) {
        give_up = *passed_at_ + own;
        to = std::min(first_held_, reached);
      }
    }
    if (now < give_up) {
      deadline_ = give_up;
      return;
    }
    skip_to(to);
  }
  passed_at_.reset();
}

void ReorderBuffer::learn_spread(TimePoint now, Duration lateness) {
  if (now - spread_at_ > kForget) spread_ = Duration::zero();
  if (lateness >= spread_) {
    spread_ = lateness;
    spread_at_ = now;
  }
}

void ReorderBuffer::learn_disorder(TimePoint now, Duration lateness) {
  if (now - disorder_at_ > kForget) disorder_ = Duration::zero();
  if (lateness >= disorder_) {
    disorder_ = std::min(lateness, max_wait_);
    disorder_at_ = now;
  }
}

void ReorderBuffer::reset() {
  if (started_ && held_ > 0) {
    const std::uint64_t end = next_ + mask_ + 1;
    for (std::uint64_t at = next_; held_ > 0 && at != end; ++at) {
      Slot& s = slot(at);
      if (!s.present) continue;
      deliver(s.packet);
      s.present = false;
      --held_;
    }
  }
  std::fill(delivered_.begin(), delivered_.end(), 0);
  for (std::size_t i = 0; i < active_count_; ++i) links_[active_ids_[i]].newest = 0;
  started_ = false;
  deadline_.reset();
  passed_at_.reset();
}

void ReorderBuffer::expect_link(TimePoint now, LinkId link) {
  LinkProgress& progress = links_[link];
  if (!progress.active) active_ids_[active_count_++] = link;
  progress = {started_ ? next_ : 0, now, true};
}

void ReorderBuffer::forget_link(LinkId link) {
  if (!links_[link].active) return;
  links_[link].active = false;
  const auto end = active_ids_.begin() + static_cast<std::ptrdiff_t>(active_count_);
  active_count_ = static_cast<std::size_t>(std::remove(active_ids_.begin(), end, link) - active_ids_.begin());
}

void ReorderBuffer::own_all() {
  for (const std::uint64_t seq : borrowed_) {
    Slot& s = slot(seq);
    if (!s.present || !s.packet.borrowed() || s.packet.size == 0) continue;
    if (auto copy = pool_.take()) {
      std::memcpy(copy->data, s.packet.data, s.packet.size);
      copy->size = s.packet.size;
      s.packet = *copy;
    } else {
      s.present = false;
      --held_;
      ++counters_.no_buffer;
    }
  }
  borrowed_.clear();
  if (held_ > 0) find_first_held();
}

}  // namespace bondd::mlvpn
