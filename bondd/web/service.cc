#include "bondd/web/service.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <optional>

#include "bondd/ipc/web_protocol.h"
#include "bondd/mlvpn/io/sandbox.h"
#include "bondd/web/http_server.h"

namespace bondd::web {
namespace {

constexpr int kFirstMessageMs = 5000;  // bondd sends it at once
constexpr int kTurnMs = 1000;          // for connections that outstay their time
constexpr int kMessagesPerTurn = 64;

std::int64_t wall_ms() {
  return duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct Begun {
  ipc::WebStart start;
  UniqueFd listener;
};

Result<Begun> wait_for_start(ipc::FdChannel& channel) {
  pollfd entry{channel.fd(), POLLIN, 0};
  poll(&entry, 1, kFirstMessageMs);
  auto first = channel.receive();
  if (!first) return tl::make_unexpected(first.error());
  if (!*first || (*first)->fds.size() != 1) return failure("bondd sent no first message");
  auto message = ipc::parse_web_message((*first)->text);
  wipe((*first)->text);
  if (!message) return tl::make_unexpected(message.error());
  auto start = message->kind == ipc::WebMessage::Kind::kStart
                   ? ipc::parse_web_start(message->text)
                   : Result<ipc::WebStart>(failure("bondd's first message is another"));
  wipe(message->text);
  if (!start) return tl::make_unexpected(start.error());
  return Begun{std::move(*start), std::move((*first)->fds[0])};
}

Result<> handle(const ipc::WebMessage& message, SiteView& site) {
  switch (message.kind) {
    case ipc::WebMessage::Kind::kStart:
      return failure("bondd began twice");
    case ipc::WebMessage::Kind::kSite:
      return site.handle_site(message.text);
    case ipc::WebMessage::Kind::kStatus:
      return site.handle_status(std::chrono::steady_clock::now(), wall_ms(), message.text);
    case ipc::WebMessage::Kind::kEvent:
      site.handle_event(message.text);
      return {};
  }
  return {};
}

// False when bondd is gone.
Result<bool> read_messages(ipc::FdChannel& channel, SiteView& site) {
  for (int i = 0; i < kMessagesPerTurn; ++i) {
    auto received = channel.receive();
    if (!received) {
      if (received.error().code == EPIPE) return false;
      return tl::make_unexpected(received.error());
    }
    if (!*received) return true;
    const auto message = ipc::parse_web_message((*received)->text);
    if (!message) return tl::make_unexpected(message.error());
    if (auto handled = handle(*message, site); !handled) return tl::make_unexpected(handled.error());
  }
  return true;
}

}  // namespace

Result<> serve(ipc::FdChannel channel, PageFiles files, Pages::Metrics metrics) {
  auto begun = wait_for_start(channel);
  if (!begun) return tl::make_unexpected(begun.error());
  SiteView site(wall_ms());
  const Pages pages(Gate({begun->start.address, begun->start.host_name}, std::move(begun->start.token)),
                    std::move(files), std::move(metrics));
  auto server = HttpServer::start(std::move(begun->listener), [&](const Request& request) {
    return pages.answer(request, site, wall_ms());
  });
  if (!server) return tl::make_unexpected(server.error());
  tzset();  // reads a file the first time, which the filter forbids
  if (auto locked = mlvpn::lock_down(mlvpn::Speaks::kConnections); !locked) return locked;
  for (;;) {
    std::array<pollfd, 2> entries{{{channel.fd(), POLLIN, 0}, {(*server)->fd(), POLLIN, 0}}};
    if (poll(entries.data(), entries.size(), (*server)->timeout_ms(kTurnMs)) < 0 && errno != EINTR)
      return errno_failure("poll");
    if (entries[0].revents != 0) {
      const auto there = read_messages(channel, site);
      if (!there) return tl::make_unexpected(there.error());
      if (!*there) return {};
    }
    (*server)->handle(std::chrono::steady_clock::now());
  }
}

}  // namespace bondd::web
