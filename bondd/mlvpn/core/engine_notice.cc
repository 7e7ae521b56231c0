// What the two ends' daemons tell each other, carried as it is: a text of one packet, sealed like
// everything, to a bondd that announced that it takes it. It is repeated, so that a lost one is none.
#include <algorithm>
#include <utility>

#include "bondd/mlvpn/core/engine_impl.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr Duration kNoticeFirst = 1s;   // a new text is sent again after that time, as the first may be lost
constexpr Duration kNoticeEvery = 15s;  // later: 3 MB a month of an LTE line's volume
constexpr Duration kNoticeLeast = 1s;   // between two events: a peer cannot flood the daemon

}  // namespace

void Engine::set_notice(TimePoint now, std::string text) {
  text.resize(std::min(text.size(), kMaxNotice));
  if (text == impl_->notice.text) return;
  impl_->notice.text = std::move(text);
  impl_->notice.next = now;
  impl_->notice.pause = kNoticeFirst;
}

bool Engine::Impl::transmit_notice(TimePoint now, Transmit& out) {
  if (notice.text.empty() || now < notice.next) return false;
  const auto takes_it = [this](LinkId id) {
    const Link& link = *places[id].link;
    return link.in_session() && link.state() != LinkState::kSilent && link.peer_can(kCapNotice) &&
           link.destination();
  };
  const auto found = std::ranges::find_if(ids, takes_it);
  // Nobody is there: it goes out as soon as somebody is.
  if (found == ids.end()) return false;
  Link& link = *find(*found);
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(notice.text.data()), notice.text.size());
  const auto sealed = seal_extension(now, link, PacketType::kNotice, bytes);
  if (!sealed) return false;
  sender->sent_control(now, link.id(), last_sealed_seq, sealed->size);
  notice.next = now + notice.pause;
  notice.pause = std::min<Duration>(2 * notice.pause, kNoticeEvery);
  burst[0] = *sealed;
  out = {link.id(), link.carrier(), *link.destination(), std::span(burst).first(1)};
  return true;
}

void Engine::Impl::note_notice(TimePoint now, const Inbound& in) {
  const std::size_t front = in.job == kClear ? kHeaderSize : kOverhead;
  const std::size_t size = in.size - front;
  if (size == 0 || size > kMaxNotice) return;
  notice.told.emplace(reinterpret_cast<const char*>(in.datagram + front), size);
  notice.told_on = in.link->id();
  hand_on_notice(now);
}

// The newest text is what holds, so one that comes too soon after another waits, and is not dropped.
void Engine::Impl::hand_on_notice(TimePoint now) {
  if (!notice.told || now < notice.next_event) return;
  const Link* const link = find(notice.told_on);
  const std::string text = *std::exchange(notice.told, std::nullopt);
  if (link == nullptr) return;  // removed meanwhile; the peer says it again
  notice.next_event = now + kNoticeLeast;
  LinkEvent event;
  event.kind = EventKind::kNotice;
  event.link = link->id();
  event.from = event.state = link->state();
  event.reason = text;
  context.events.push_back(std::move(event));
}

}  // namespace bondd::mlvpn
