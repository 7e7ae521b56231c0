#include "bondd/mlvpn/core/session_keys.h"

#include <algorithm>
#include <utility>

namespace bondd::mlvpn {

SecretBox* SessionKeys::opener(TimePoint now, std::uint32_t receive_id, std::uint32_t& flow) {
  const auto fits = [&](const Session& s) { return s.receive_id == receive_id && now - s.made < kKeyLife; };
  if (current_ && fits(*current_)) {
    flow = current_->receive_flow;
    return &current_->opens;
  }
  if (former_ && former_->receive_id == receive_id && now < former_->until) {
    flow = former_->flow;
    return &former_->opens;
  }
  for (Offer& offer : offers_) {
    if (!fits(offer.session)) continue;
    flow = offer.session.receive_flow;
    return &offer.session.opens;
  }
  return nullptr;
}

bool SessionKeys::uses(std::uint32_t receive_id) const {
  return (current_ && current_->receive_id == receive_id) || (former_ && former_->receive_id == receive_id) ||
         is_offered(receive_id);
}

void SessionKeys::offer(TimePoint now, const PublicKey& client, std::vector<std::uint8_t> reply,
                        Session session) {
  std::erase_if(offers_, [&](const Offer& o) { return now - o.session.made >= kOfferLife; });
  if (offers_.size() == kMostOffers) offers_.erase(offers_.begin());
  offers_.push_back({client, std::move(reply), std::move(session)});
}

const std::vector<std::uint8_t>* SessionKeys::reply_to(const PublicKey& client) const {
  const auto found = std::ranges::find(offers_, client, &Offer::client);
  return found == offers_.end() ? nullptr : &found->reply;
}

bool SessionKeys::is_offered(std::uint32_t receive_id) const {
  return std::ranges::any_of(offers_, [&](const Offer& o) { return o.session.receive_id == receive_id; });
}

std::optional<Session> SessionKeys::take_offer(std::uint32_t receive_id) {
  const auto found =
      std::ranges::find_if(offers_, [&](const Offer& o) { return o.session.receive_id == receive_id; });
  if (found == offers_.end()) return std::nullopt;
  std::optional<Session> taken = std::move(found->session);
  offers_.clear();  // a client has one question at a time
  return taken;
}

void SessionKeys::use(TimePoint now, Session session, bool same_flow) {
  former_.reset();
  if (same_flow && current_) {
    former_ = Former{current_->receive_id, current_->receive_flow, std::move(current_->opens),
                     current_->made + kKeyLife};
  }
  current_ = std::move(session);
  current_->made = std::min(current_->made, now);
  heard_ = false;
}

void SessionKeys::on_heard(TimePoint now, std::uint32_t receive_id) {
  if (heard_ || !current_ || current_->receive_id != receive_id) return;
  heard_ = true;
  if (former_) former_->until = std::min(former_->until, now + kFormerOpens);
}

bool SessionKeys::expire(TimePoint now) {
  if (former_ && now >= former_->until) former_.reset();
  std::erase_if(offers_, [&](const Offer& o) { return now - o.session.made >= kOfferLife; });
  if (!current_ || now - current_->made < kKeyLife) return false;
  clear();
  return true;
}

void SessionKeys::clear() {
  current_.reset();
  former_.reset();
  offers_.clear();
  heard_ = false;
}

std::optional<TimePoint> SessionKeys::deadline() const {
  std::optional<TimePoint> at;
  const auto consider = [&](TimePoint t) { at = at ? std::min(*at, t) : t; };
  if (current_) consider(current_->made + kKeyLife);
  if (former_) consider(former_->until);
  for (const Offer& offer : offers_) consider(offer.session.made + kOfferLife);
  return at;
}

}  // namespace bondd::mlvpn
