// An in-memory iptables behind the seam of rules/iptables.h. What is there is one Firewall
// per variant; install and remove act on it as the programs do.
#pragma once

#include <cstddef>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "rules/iptables.h"

namespace bondd::testing {

class FakeIptables final : public rules::Iptables {
 public:
  Result<rules::Variant> variant() override { return variant_; }
  Result<rules::Firewall> observe(const rules::ChainFilter& filter) override;
  Result<> install(const rules::Firewall& firewall) override;
  Result<> remove(const rules::Firewall& firewall) override;

  std::set<std::string> forwarding_rules() override { return forwarding; }
  std::set<std::string> forwarding;  // of others

  // What is there, of all sites; for the test to set up and to look at.
  rules::Firewall& state() { return state_; }
  void set_variant(rules::Variant variant) { variant_ = variant; }

  // As in FakeKernel: EPERM for every change; the nth change from now fails once; all from the
  // nth on fail until recover().
  void deny(bool on) { denied_ = on; }
  void fail_at(std::size_t n) { fail_at_ = changes_ + n; }
  void crash_at(std::size_t n) { crash_at_ = changes_ + n; }
  void recover() { fail_at_ = crash_at_ = kNever; }
  // "install BONDD-IN-office" or "remove …" with the chains' names.
  [[nodiscard]] const std::vector<std::string>& calls() const { return calls_; }
  void clear_calls() { calls_.clear(); }

 private:
  static constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

  Result<> enter(std::string_view verb, const rules::Firewall& firewall);
  rules::Table& table(const std::string& name);

  rules::Firewall state_;
  rules::Variant variant_ = rules::Variant::kNft;
  bool denied_ = false;
  std::size_t changes_ = 0, fail_at_ = kNever, crash_at_ = kNever;
  std::vector<std::string> calls_;
};

}  // namespace bondd::testing
