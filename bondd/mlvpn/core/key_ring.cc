#include "bondd/mlvpn/core/key_ring.h"

#include <utility>

namespace bondd::mlvpn {
namespace {
constexpr auto kGrace = std::chrono::seconds(60);
}

KeyRing::KeyRing(Secrets secrets)
    : key_(std::move(secrets.key)),
      psk_(std::move(secrets.psk)),
      pair_(std::move(secrets.pair)),
      active_(key_) {}

void KeyRing::change(TimePoint now, Secrets secrets) {
  if (secrets.key == key_) return;
  other_key_ = std::move(secrets.key);
  other_psk_ = std::move(secrets.psk);
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
    other_psk_.reset();
  }
}

void KeyRing::complete(TimePoint now) {
  std::swap(key_, other_key_);
  std::swap(psk_, other_psk_);
  std::swap(active_, *other_);
  offered_ = false;
  until_ = now + kGrace;
}

}  // namespace bondd::mlvpn
