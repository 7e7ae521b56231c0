// The shared key, and the change from one to the next while packets flow.
//
//   steady      one key seals and opens
//   offered     set_key came: the old key seals, both open, and KEEPALIVEs under
//               the new one tell the peer when it has changed too
//   changed     the peer used the new key, or a minute passed: the new key
//               seals, the old one still opens for a minute
#pragma once

#include <optional>
#include <span>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/crypto.h"

namespace bondd::mlvpn {

class KeyRing {
 public:
  explicit KeyRing(Secrets secrets);

  // To another password. The key pair stays what it was.
  void change(TimePoint now, Secrets secrets);
  void seal(std::span<BoxJob> jobs) { active_.seal(jobs); }
  // Under the key that is offered (offering() must be true).
  void seal_offered(std::span<BoxJob> jobs) { other_->seal(jobs); }
  // Tries both keys. Hearing the offered one completes the change.
  void open(TimePoint now, std::span<BoxJob> jobs);
  void on_timer(TimePoint now);

  [[nodiscard]] bool offering() const { return offered_; }
  // For handshakes: of the key that seals, and of the other one that opens; null: there is none.
  [[nodiscard]] const SecretKey* psk() const { return psk_ ? &*psk_ : nullptr; }
  [[nodiscard]] const SecretKey* other_psk() const { return other_ && other_psk_ ? &*other_psk_ : nullptr; }
  [[nodiscard]] const std::optional<KeyPair>& pair() const { return pair_; }
  [[nodiscard]] std::optional<TimePoint> deadline() const {
    return other_ ? std::optional(until_) : std::nullopt;
  }
  [[nodiscard]] const char* implementation() const { return active_.implementation(); }

 private:
  void complete(TimePoint now);

  SecretKey key_, other_key_;
  std::optional<SecretKey> psk_, other_psk_;
  std::optional<KeyPair> pair_;
  SecretBox active_;
  std::optional<SecretBox> other_;
  bool offered_ = false;
  TimePoint until_;
};

}  // namespace bondd::mlvpn
