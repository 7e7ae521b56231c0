#include "bondd/mlvpn/core/key_ring.h"

#include <utility>

namespace bondd::mlvpn {
namespace {
constexpr auto kGrace = std::chrono::seconds(60);
}

KeyRing::KeyRing(SecretKey key) : key_(std::move(key)), active_(key_) {}

void KeyRing::change(TimePoint now, SecretKey key) {
  if (key == key_) return;
  other_key_ = std::move(key);
  other_.emplace(other_key_);
  offered_ = true;
  until_ = now + kGrace;
}

void KeyRing::open(TimePoint now, std::span<BoxJob> jobs) {
  active_.open(jobs);
  if (!other_) return;
  bool heard_new = false;
  for (BoxJob& job : jobs) {
    if (job.ok) continue;
    other_->open({&job, 1});
    heard_new = heard_new || job.ok;
  }
  if (heard_new && offered_) complete(now);
}

void KeyRing::on_timer(TimePoint now) {
  if (!other_ || now < until_) return;
  if (offered_) {
    complete(now);
  } else {
    other_.reset();
    other_key_ = SecretKey();
  }
}

void KeyRing::complete(TimePoint now) {
  std::swap(key_, other_key_);
  std::swap(active_, *other_);
  offered_ = false;
  until_ = now + kGrace;
}

}  // namespace bondd::mlvpn
