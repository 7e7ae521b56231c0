// The simulated clock: events in order of time, and of posting among equal times.
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "bondd/base/units.h"

namespace bondd::sim {

// Something that is woken at a time it asked for. `token` is its own affair.
class Actor {
 public:
  Actor() = default;
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  virtual ~Actor() = default;
  virtual void on_event(TimePoint now, std::uint64_t token) = 0;
};

class EventQueue {
 public:
  // Runs start at one hour, so that times before the start can be subtracted safely.
  TimePoint now() const { return now_; }

  // Wakes `actor` at `time` (at once when that is past). The actor must outlive the event.
  void post(TimePoint time, Actor& actor, std::uint64_t token = 0) {
    events_.push({time < now_ ? now_ : time, order_++, &actor, token});
  }

  void run_until(TimePoint end) {
    while (!events_.empty() && events_.top().time <= end) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      event.actor->on_event(now_, event.token);
    }
    now_ = end;
  }

  std::uint64_t posted() const { return order_; }

 private:
  struct Event {
    TimePoint time;
    std::uint64_t order;
    Actor* actor;
    std::uint64_t token;
    bool operator<(const Event& o) const { return time != o.time ? time > o.time : order > o.order; }
  };
  TimePoint now_{std::chrono::hours(1)};
  std::uint64_t order_ = 0;
  std::priority_queue<Event> events_;
};

// One wake-up that can be moved: stale events are told apart by their token.
class Timer {
 public:
  Timer(EventQueue& queue, Actor& actor, std::uint64_t kind) : queue_(queue), actor_(actor), kind_(kind) {}

  void set(TimePoint time) {
    if (armed_ && time == time_) return;
    time_ = time;
    armed_ = true;
    // An earlier event that is still to come will look at time_ and post again.
    if (!posted_ || time < posted_time_) {
      posted_ = true;
      posted_time_ = time;
      queue_.post(time, actor_, kind_ | (++generation_ << 8));
    }
  }
  void stop() { armed_ = false; }
  bool armed() const { return armed_; }

  static std::uint64_t kind_of(std::uint64_t token) { return token & 0xff; }

  // To be called with every token of this kind: true when the timer is due now.
  bool due(TimePoint now, std::uint64_t token) {
    if ((token >> 8) != generation_) return false;
    posted_ = false;
    if (!armed_) return false;
    if (time_ > now) {
      posted_ = true;
      posted_time_ = time_;
      queue_.post(time_, actor_, kind_ | (++generation_ << 8));
      return false;
    }
    armed_ = false;
    return true;
  }

 private:
  EventQueue& queue_;
  Actor& actor_;
  std::uint64_t kind_;
  std::uint64_t generation_ = 0;
  TimePoint time_{}, posted_time_{};
  bool armed_ = false, posted_ = false;
};

}  // namespace bondd::sim
