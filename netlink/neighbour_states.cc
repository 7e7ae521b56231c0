#include "netlink/neighbour_states.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "netlink/message.h"
#include "netlink/socket.h"

namespace bondd::netlink {
namespace {

NeighbourState::State state_of(std::uint16_t nud) {
  if ((nud & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT)) != 0)
    return NeighbourState::State::kAnswers;
  return (nud & (NUD_INCOMPLETE | NUD_FAILED)) != 0 ? NeighbourState::State::kFailed
                                                    : NeighbourState::State::kOther;
}

}  // namespace

Result<std::vector<NeighbourState>> read_neighbour_states() {
  auto socket = Socket::open();
  if (!socket) return tl::make_unexpected(socket.error());
  Message message(RTM_GETNEIGH, 0);
  message.header<ndmsg>().ndm_family = AF_INET;
  std::vector<NeighbourState> out;
  auto read = socket->dump(
      message, [&out] { out.clear(); },
      [&out](const nlmsghdr* entry) {
        if (entry->nlmsg_type != RTM_NEWNEIGH) return;
        const auto* const header = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(entry));
        const auto address = Attributes(entry, sizeof(ndmsg)).address(NDA_DST);
        if (address) out.push_back({header->ndm_ifindex, *address, state_of(header->ndm_state)});
      });
  if (!read) return tl::make_unexpected(read.error().in("cannot read the neighbour table"));
  return out;
}

}  // namespace bondd::netlink
