// How a packet becomes a datagram, in place: under the session's keys of its link (see wire.h), under the
// password's key, or in clear.
#include "bondd/mlvpn/core/engine_impl.h"

namespace bondd::mlvpn {

Engine::Impl::Layout Engine::Impl::layout_of(Link& link, PacketType type) const {
  const bool handshake = type == PacketType::kAuth || type == PacketType::kAuthOk;
  const bool clear = config.clear_data && type == PacketType::kData;
  if (const Session* const session = link.session(); session != nullptr && !handshake) {
    const bool both = clear && (session->peer.capabilities & kCapClearData) != 0;
    return both ? Layout::kSessionClear : Layout::kSession;
  }
  return clear ? Layout::kClear : Layout::kPassword;
}

// The header of `text`, with what the layout adds to it.
Header Engine::Impl::header_for(TimePoint now, Link& link, PacketType type, std::size_t text, Layout layout) {
  return link.next_header(now, type, text + front_of(layout) - kHeaderSize, in_session(layout));
}

// The datagram around `text`, which stands in a pool buffer; `job` is what is to be sealed of it.
PacketRef Engine::Impl::frame(const Header& header, const PacketRef& text, Layout layout, BoxJob& job) {
  std::uint8_t* datagram = text.data - front_of(layout);
  if (in_session(layout)) {
    render_inner_header(header, datagram);
    job = {datagram + kSessionBox,
           text.size + static_cast<std::uint32_t>(kInnerHeaderSize),
           header.flow_id,
           header.seq,
           false,
           layout == Layout::kSessionClear};
  } else {
    render_header(header, datagram);
    job = {datagram + kHeaderSize, text.size, header.flow_id, header.seq, false, false};
  }
  return {datagram, static_cast<std::uint32_t>(front_of(layout) + text.size), text.index};
}

void Engine::Impl::seal(Link& link, Layout layout, std::span<BoxJob> boxes,
                        std::span<const PacketRef> datagrams) {
  switch (layout) {
    case Layout::kClear:
      return;
    case Layout::kPassword:
      keys.seal(boxes);
      return;
    case Layout::kSession:
    case Layout::kSessionClear:
      break;
  }
  link.session()->seals.seal(boxes);
  for (std::size_t i = 0; i < boxes.size(); ++i)
    render_session_front({boxes[i].flow_id, boxes[i].seq, boxes[i].clear}, datagrams[i].size,
                         datagrams[i].data);
}

}  // namespace bondd::mlvpn
