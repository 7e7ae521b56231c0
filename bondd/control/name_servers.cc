#include "bondd/control/name_servers.h"

#include <arpa/nameser.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "bondd/base/inet.h"
#include "bondd/base/unique_fd.h"
#include "bondd/control/run_dir.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

constexpr auto kAskAgain = 1s;  // a question or its answer may be lost
using Bytes = std::span<const std::uint8_t>;

// Where stubs write down whom they ask.
constexpr std::array kStubFiles{
    "/run/systemd/resolve/resolv.conf",         // systemd-resolved
    "/run/NetworkManager/no-stub-resolv.conf",  // NetworkManager, whatever it starts
    "/run/dnsmasq/resolv.conf",                 // resolvconf with dnsmasq
    "/run/resolvconf/resolv.conf",
    "/etc/resolv.dnsmasq.conf",  // dnsmasq's resolv-file by custom
};
constexpr std::size_t kMaxServers = 6;  // each is asked by each WAN

// The system's way to make a question.
class ResolverState {
 public:
  ResolverState() { ready_ = res_ninit(&state_) == 0; }
  ~ResolverState() {
    if (ready_) res_nclose(&state_);
  }
  ResolverState(const ResolverState&) = delete;
  ResolverState& operator=(const ResolverState&) = delete;

  std::vector<std::uint8_t> question(const std::string& name, ns_type type) {
    std::vector<std::uint8_t> bytes(NS_PACKETSZ);
    const int size = res_nmkquery(&state_, ns_o_query, name.c_str(), ns_c_in, type, nullptr, 0, nullptr,
                                  bytes.data(), static_cast<int>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(std::max(size, 0)));
    return bytes;
  }

 private:
  struct __res_state state_ {};
  bool ready_ = false;
};

std::optional<IpAddress> address_of(ns_rr& record) {
  std::array<std::uint8_t, 4> four{};
  std::array<std::uint8_t, 16> sixteen{};
  const auto is = [&](ns_type type, std::size_t size) {
    return ns_rr_type(record) == type && static_cast<std::size_t>(ns_rr_rdlen(record)) == size;
  };
  if (is(ns_t_a, four.size())) {
    std::memcpy(four.data(), ns_rr_rdata(record), four.size());
    return IpAddress::v4(four);
  }
  if (is(ns_t_aaaa, sixteen.size())) {
    std::memcpy(sixteen.data(), ns_rr_rdata(record), sixteen.size());
    return IpAddress::v6(sixteen);
  }
  return std::nullopt;
}

// The addresses in an answer to `question`; none for an answer to another, or one that is no help.
std::vector<IpAddress> parse_answer(Bytes answer, Bytes question) {
  std::vector<IpAddress> addresses;
  ns_msg message;
  const bool ours =
      answer.size() >= NS_HFIXEDSZ && std::equal(answer.begin(), answer.begin() + 2, question.begin());
  if (!ours || ns_initparse(answer.data(), static_cast<int>(answer.size()), &message) != 0) return addresses;
  if (ns_msg_getflag(message, ns_f_qr) == 0 || ns_msg_getflag(message, ns_f_rcode) != ns_r_noerror)
    return addresses;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, i, &record) != 0) break;
    if (const auto address = address_of(record)) addresses.push_back(*address);
  }
  return addresses;
}

UniqueFd open_marked(const IpAddress& server, std::uint32_t mark) {
  const sockaddr_in to = to_sockaddr(server, NS_DEFAULTPORT);
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) return {};
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return {};
  return fd;
}

std::vector<UniqueFd> open_all(const std::vector<IpAddress>& servers, const std::vector<NameWay>& ways) {
  std::vector<UniqueFd> sockets;
  const auto open = [&](const IpAddress& server, std::uint32_t mark) {
    if (UniqueFd socket = open_marked(server, mark)) sockets.push_back(std::move(socket));
  };
  for (const NameWay& way : ways) {
    for (const IpAddress& server : servers) open(server, way.mark);
    const bool known =
        !way.gateway || std::find(servers.begin(), servers.end(), *way.gateway) != servers.end();
    if (!known && way.gateway->is_v4()) open(*way.gateway, way.mark);
  }
  return sockets;
}

void add_new(std::vector<IpAddress>& servers, const std::vector<IpAddress>& more) {
  for (const IpAddress& server : more) {
    const bool known = std::find(servers.begin(), servers.end(), server) != servers.end();
    if (!known && servers.size() < kMaxServers) servers.push_back(server);
  }
}

std::optional<std::string> read_file(const char* path) {
  auto text = read_small_file(path);
  return text ? std::optional(std::move(*text)) : std::nullopt;
}

// Takes what comes on any of the sockets until `until`, or until an answer fits.
void wait_for_answer(const std::vector<UniqueFd>& sockets, NameAnswers& answers, TimePoint until) {
  std::vector<pollfd> polled;
  polled.reserve(sockets.size());
  for (const UniqueFd& socket : sockets) polled.push_back({socket.get(), POLLIN, 0});
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left <= 0ms || ::poll(polled.data(), polled.size(), static_cast<int>(left.count())) <= 0) return;
    for (pollfd& one : polled) {
      if (one.revents == 0) continue;
      std::array<std::uint8_t, 4096> buffer{};
      const ssize_t size = ::recv(one.fd, buffer.data(), buffer.size(), 0);
      if (size < 0) one.fd = -1;  // a server that refuses has nothing more to say
      if (size > 0 && answers.handle(Bytes(buffer.data(), static_cast<std::size_t>(size)))) return;
    }
  }
}

}  // namespace

std::vector<IpAddress> name_servers_in(std::string_view resolv_conf) {
  constexpr std::string_view kBlank = " \t\r", kKey = "nameserver";
  std::vector<IpAddress> servers;
  while (!resolv_conf.empty()) {
    std::string_view line = resolv_conf.substr(0, resolv_conf.find('\n'));
    resolv_conf.remove_prefix(std::min(line.size() + 1, resolv_conf.size()));
    line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
    if (!line.starts_with(kKey)) continue;
    line.remove_prefix(kKey.size());
    const std::size_t start = line.find_first_not_of(kBlank);
    if (start == 0 || start == std::string_view::npos) continue;
    line.remove_prefix(start);
    const auto server = parse_ip(line.substr(0, line.find_first_of(kBlank)));
    const bool elsewhere = server && server->is_v4() && server->data()[0] != 127 && !server->is_unspecified();
    if (elsewhere) add_new(servers, {*server});
  }
  return servers;
}

std::vector<IpAddress> upstream_name_servers(const ReadFile& read) {
  std::vector<IpAddress> servers = name_servers_in(read("/etc/resolv.conf").value_or(""));
  if (!servers.empty()) return servers;
  for (const char* file : kStubFiles) add_new(servers, name_servers_in(read(file).value_or("")));
  return servers;
}

Result<NameAnswers> NameAnswers::to(const std::string& name, Fits fits) {
  ResolverState state;
  NameAnswers answers;
  answers.fits_ = std::move(fits);
  for (const ns_type type : {ns_t_a, ns_t_aaaa}) {
    answers.questions_.push_back(state.question(name, type));
    if (answers.questions_.back().empty()) return failure(fmt::format("{} is no name to ask for", name));
  }
  return answers;
}

bool NameAnswers::handle(Bytes datagram) {
  for (const std::vector<std::uint8_t>& question : questions_) {
    const std::vector<IpAddress> found = parse_answer(datagram, question);
    if (found.empty()) continue;
    const bool good = std::any_of(found.begin(), found.end(), [&](const IpAddress& address) {
      return address.is_v4() && fits_(address);
    });
    auto& kept = good ? good_ : any_;
    const bool better = kept.empty() || (!good && !fits_(kept.front()) && fits_(found.front()));
    if (better) kept = found;
  }
  return !good_.empty();
}

Result<std::vector<IpAddress>> ask_name_servers(const std::string& name, const std::vector<NameWay>& ways,
                                                const Fits& fits, Duration limit) {
  auto answers = NameAnswers::to(name, fits);
  if (!answers) return tl::make_unexpected(answers.error());
  const std::vector<UniqueFd> sockets = open_all(upstream_name_servers(read_file), ways);
  const TimePoint deadline = std::chrono::steady_clock::now() + limit;
  while (!sockets.empty() && std::chrono::steady_clock::now() < deadline) {
    for (const UniqueFd& socket : sockets) {
      for (const auto& question : answers->questions()) {
        [[maybe_unused]] const auto sent =
            ::send(socket.get(), question.data(), question.size(), MSG_NOSIGNAL);
      }
    }
    wait_for_answer(sockets, *answers,
                    std::min<TimePoint>(deadline, std::chrono::steady_clock::now() + kAskAgain));
    if (!answers->best().empty()) return answers->best();
  }
  return failure(fmt::format("{} does not resolve: no name server answers by any WAN", name));
}

}  // namespace bondd::control
