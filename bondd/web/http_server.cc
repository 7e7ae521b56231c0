#include "bondd/web/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>

namespace bondd::web {
namespace {

// A connection, from its beginning to its end, and the request on it that is not answered yet.
struct Connection {
  int fd = -1;
  TimePoint waits_since;
};

std::string header(MHD_Connection* connection, const char* name) {
  const char* const value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value == nullptr ? "" : value;
}

MHD_Result take_argument(void* arguments, MHD_ValueKind /*kind*/, const char* name, const char* value) {
  auto& out = *static_cast<std::map<std::string, std::string>*>(arguments);
  out.emplace(name, value == nullptr ? "" : value);
  return MHD_YES;
}

Request read_request(MHD_Connection* connection, const char* path, const char* method) {
  Request request{method,
                  path,
                  header(connection, "Host"),
                  header(connection, "Origin"),
                  header(connection, "Authorization"),
                  {},
                  {}};
  const char* const cookie = MHD_lookup_connection_value(connection, MHD_COOKIE_KIND, kCookie);
  if (cookie != nullptr) request.cookie = cookie;
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &take_argument, &request.arguments);
  return request;
}

MHD_Result send(MHD_Connection* connection, const Response& response) {
  MHD_Response* const out = MHD_create_response_from_buffer(
      response.body.size(), const_cast<char*>(response.body.data()), MHD_RESPMEM_MUST_COPY);
  if (out == nullptr) return MHD_NO;
  for (const auto& [name, value] : kAlways) MHD_add_response_header(out, name.c_str(), value.c_str());
  if (!response.type.empty()) MHD_add_response_header(out, "Content-Type", response.type.c_str());
  for (const auto& [name, value] : response.headers)
    MHD_add_response_header(out, name.c_str(), value.c_str());
  const MHD_Result queued = MHD_queue_response(connection, response.status, out);
  MHD_destroy_response(out);
  return queued;
}

class Microhttpd : public HttpServer {
 public:
  explicit Microhttpd(Answer answer) : answer_(std::move(answer)) {}
  ~Microhttpd() override {
    if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
  }
  Microhttpd(const Microhttpd&) = delete;
  Microhttpd& operator=(const Microhttpd&) = delete;

  bool listen(UniqueFd listener) {
    daemon_ = MHD_start_daemon(MHD_USE_EPOLL, 0, nullptr, nullptr, &on_request, this,  //
                               MHD_OPTION_LISTEN_SOCKET, listener.get(),               //
                               MHD_OPTION_CONNECTION_LIMIT, kMostConnections,          //
                               MHD_OPTION_PER_IP_CONNECTION_LIMIT, kMostOfOneAddress,  //
                               MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemory,  //
                               MHD_OPTION_CONNECTION_TIMEOUT, kRestSeconds,            //
                               MHD_OPTION_NOTIFY_CONNECTION, &on_connection, this,     //
                               MHD_OPTION_NOTIFY_COMPLETED, &on_completed, this,       //
                               MHD_OPTION_END);
    if (daemon_ != nullptr) (void)listener.release();
    return daemon_ != nullptr;
  }

  [[nodiscard]] int fd() const override {
    return MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  }
  [[nodiscard]] int timeout_ms(int most) const override {
    MHD_UNSIGNED_LONG_LONG wanted = 0;
    if (MHD_get_timeout(daemon_, &wanted) != MHD_YES) return most;
    return static_cast<int>(std::min<MHD_UNSIGNED_LONG_LONG>(wanted, static_cast<unsigned>(most)));
  }
  void handle(TimePoint now) override {
    now_ = now;
    MHD_run(daemon_);
    // It comes back as an end of the stream; the library closes it then.
    for (const Connection* connection : connections_) {
      if (now - connection->waits_since > kRequestLimit) shutdown(connection->fd, SHUT_RDWR);
    }
  }

 private:
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* path, const char* method,
                               const char* /*version*/, const char* /*body*/, std::size_t* /*size*/,
                               void** /*context*/) {
    const auto& server = *static_cast<Microhttpd*>(self);
    return send(connection, server.answer_(read_request(connection, path, method)));
  }

  static void on_connection(void* self, MHD_Connection* connection, void** context,
                            MHD_ConnectionNotificationCode code) {
    auto& server = *static_cast<Microhttpd*>(self);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
      const int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
      *context = new Connection{fd, server.now_};
      server.connections_.insert(static_cast<Connection*>(*context));
    } else {
      server.connections_.erase(static_cast<Connection*>(*context));
      delete static_cast<Connection*>(*context);
    }
  }

  static void on_completed(void* self, MHD_Connection* connection, void** /*context*/,
                           MHD_RequestTerminationCode /*code*/) {
    const MHD_ConnectionInfo* const info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info != nullptr && info->socket_context != nullptr)
      static_cast<Connection*>(info->socket_context)->waits_since = static_cast<Microhttpd*>(self)->now_;
  }

  Answer answer_;
  MHD_Daemon* daemon_ = nullptr;
  TimePoint now_ = std::chrono::steady_clock::now();
  std::set<Connection*> connections_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(UniqueFd listener, Answer answer) {
  auto server = std::make_unique<Microhttpd>(std::move(answer));
  if (!server->listen(std::move(listener))) return failure("libmicrohttpd does not start");
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace bondd::web
