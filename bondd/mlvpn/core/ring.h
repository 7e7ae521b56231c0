// A first-in first-out queue of fixed capacity that never allocates after its
// construction.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <vector>

namespace bondd::mlvpn {

template <typename T>
class Ring {
 public:
  // Holds at least `capacity` elements (rounded up to a power of two).
  explicit Ring(std::size_t capacity) : slots_(std::bit_ceil(capacity)), mask_(slots_.size() - 1) {}

  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] bool full() const { return size() == slots_.size(); }
  [[nodiscard]] std::size_t size() const { return tail_ - head_; }
  [[nodiscard]] std::size_t capacity() const { return slots_.size(); }

  // Precondition of push: not full; of front, pop and [i]: i < size().
  void push(const T& value) {
    assert(!full());
    slots_[tail_++ & mask_] = value;
  }
  void push_front(const T& value) {
    assert(!full());
    slots_[--head_ & mask_] = value;
  }
  [[nodiscard]] T& front() {
    assert(!empty());
    return slots_[head_ & mask_];
  }
  [[nodiscard]] const T& front() const { return slots_[head_ & mask_]; }
  [[nodiscard]] T& operator[](std::size_t i) { return slots_[(head_ + i) & mask_]; }
  T pop() {
    assert(!empty());
    return slots_[head_++ & mask_];
  }
  void clear() { head_ = tail_; }

 private:
  std::vector<T> slots_;
  std::size_t mask_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
};

}  // namespace bondd::mlvpn
