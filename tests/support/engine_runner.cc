// bondd-engine without the rest of bondd, for benches and namespace tests: makes
// the tun and the sockets, starts the engine, prints what it reports as JSON
// lines, and obeys commands on standard input.
//
//   engine_runner --engine PATH --role client|server --tun NAME [--tap] [--mtu N]
//                 --password TEXT [--clear] [--no-reorder] [--no-repair] [--no-offloads] [--no-vnet]
//                 --link NAME,LOCAL_IP,LOCAL_PORT[,REMOTE_IP,REMOTE_PORT][,key=value…]
//
// Keys of a link: upload=20mbit weight=2 timeout=2s loss=25 latency=300ms
// fallback=1 device=eth0 mark=4. The engine's pid is the first line. Commands:
// status, password TEXT, remove NAME, add LINK, update LINK, remote NAME IP PORT,
// rebind LINK (a new socket for it), stop. Ends with the engine's exit status, or
// 128 + the signal that killed it.
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "bondd/ipc/engine_client.h"
#include "bondd/mlvpn/io/open_device.h"
#include "bondd/mlvpn/session/key_pair.h"

namespace {

using bondd::Result;
using bondd::UniqueFd;
namespace ipc = bondd::ipc;
namespace mlvpn = bondd::mlvpn;

[[noreturn]] void die(const std::string& message) {
  std::fprintf(stderr, "engine_runner: %s\n", message.c_str());
  std::exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result) die(result.error().message);
  return std::move(*result);
}
void must(const Result<>& result) {
  if (!result) die(result.error().message);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

struct LinkArgument {
  ipc::EngineLink link;
  mlvpn::UdpOptions udp;
};

void set_key(LinkArgument& argument, const std::string& key, const std::string& value) {
  if (key == "upload") {
    argument.link.upload = must(bondd::parse_rate(value));
  } else if (key == "weight") {
    argument.link.weight = std::stod(value);
  } else if (key == "timeout") {
    argument.link.timeout = must(bondd::parse_duration(value));
  } else if (key == "loss") {
    argument.link.loss_tolerance = std::stod(value);
  } else if (key == "latency") {
    argument.link.latency_tolerance = must(bondd::parse_duration(value));
  } else if (key == "fallback") {
    argument.link.fallback_only = value == "1";
  } else if (key == "device") {
    argument.udp.device = value;
  } else if (key == "mark") {
    argument.udp.mark = static_cast<std::uint32_t>(std::stoul(value));
  } else if (key == "sndbuf") {
    argument.udp.send_buffer = std::stoi(value);
  } else {
    die("unknown key of a link: " + key);
  }
}

LinkArgument parse_link(const std::string& text) {
  std::vector<std::string> fixed;
  LinkArgument argument;
  for (const std::string& part : split(text, ',')) {
    const auto equals = part.find('=');
    if (equals == std::string::npos) {
      fixed.push_back(part);
    } else {
      set_key(argument, part.substr(0, equals), part.substr(equals + 1));
    }
  }
  if (fixed.size() != 3 && fixed.size() != 5) die("--link NAME,LOCAL_IP,LOCAL_PORT[,REMOTE_IP,REMOTE_PORT]");
  argument.link.name = fixed[0];
  argument.udp.address = must(bondd::parse_ip(fixed[1]));
  argument.udp.family = argument.udp.address->family();
  argument.udp.port = static_cast<std::uint16_t>(std::stoi(fixed[2]));
  if (fixed.size() == 5) {
    argument.link.remote =
        ipc::EngineEndpoint{must(bondd::parse_ip(fixed[3])), static_cast<std::uint16_t>(std::stoi(fixed[4]))};
  }
  return argument;
}

void set_mtu(const std::string& device, int mtu) {
  const UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device.c_str());
  request.ifr_mtu = mtu;
  if (ioctl(any.get(), SIOCSIFMTU, &request) != 0) die("set the MTU: " + std::string(std::strerror(errno)));
}

// A tun as an old kernel makes it: packets without a virtio header.
UniqueFd open_bare_tun(const std::string& name) {
  UniqueFd fd(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name.c_str());
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (!fd || ioctl(fd.get(), TUNSETIFF, &request) != 0) die("create " + name + ": " + std::strerror(errno));
  return fd;
}

struct Arguments {
  std::string engine, user, tun = "bond0", password;
  bool tap = false;
  bool vnet = true;
  int mtu = 1400;
  ipc::EngineStart start;
  std::vector<LinkArgument> links;
};

Arguments parse_arguments(int argc, char** argv) {
  const option options[] = {
      {"engine", 1, nullptr, 'e'},      {"role", 1, nullptr, 'r'},       {"tun", 1, nullptr, 't'},
      {"tap", 0, nullptr, 'T'},         {"mtu", 1, nullptr, 'm'},        {"password", 1, nullptr, 'p'},
      {"clear", 0, nullptr, 'c'},       {"no-reorder", 0, nullptr, 'R'}, {"no-repair", 0, nullptr, 'P'},
      {"no-offloads", 0, nullptr, 'O'}, {"no-vnet", 0, nullptr, 'V'},    {"link", 1, nullptr, 'l'},
      {"user", 1, nullptr, 'u'},        {nullptr, 0, nullptr, 0}};
  Arguments arguments;
  for (int letter = 0; (letter = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (letter) {
      case 'e':
        arguments.engine = optarg;
        break;
      case 'r':
        arguments.start.server = std::string(optarg) == "server";
        break;
      case 't':
        arguments.tun = optarg;
        break;
      case 'T':
        arguments.tap = true;
        break;
      case 'm':
        arguments.mtu = std::atoi(optarg);
        break;
      case 'p':
        arguments.password = optarg;
        break;
      case 'c':
        arguments.start.clear_data = true;
        break;
      case 'R':
        arguments.start.reorder = false;
        break;
      case 'P':
        arguments.start.repair = false;
        break;
      case 'O':
        arguments.start.offloads = false;
        break;
      case 'V':
        arguments.vnet = false;
        break;
      case 'u':
        arguments.user = optarg;
        break;
      case 'l':
        arguments.links.push_back(parse_link(optarg));
        break;
      default:
        die("see the head of engine_runner.cc");
    }
  }
  if (arguments.engine.empty() || arguments.password.empty()) die("--engine and --password are needed");
  return arguments;
}

mlvpn::EngineKeys keys_of(const std::string& password) {
  return mlvpn::engine_keys(must(mlvpn::keys_of_password(password)), std::nullopt);
}

void obey(ipc::EngineClient& engine, const std::string& line) {
  const std::vector<std::string> words = split(line, ' ');
  if (words.empty()) return;
  if (words[0] == "status") {
    must(engine.request(ipc::EngineGetStatus{}));
  } else if (words[0] == "stop") {
    must(engine.request(ipc::EngineStop{}));
  } else if (words[0] == "password" && words.size() == 2) {
    must(engine.set_password(keys_of(words[1]).span()));
  } else if (words[0] == "remove" && words.size() == 2) {
    must(engine.request(ipc::EngineRemoveLink{words[1]}));
  } else if (words[0] == "update" && words.size() == 2) {
    must(engine.request(ipc::EngineUpdateLink{parse_link(words[1]).link}));
  } else if (words[0] == "remote" && words.size() == 4) {
    const auto port = static_cast<std::uint16_t>(std::stoi(words[3]));
    must(engine.request(ipc::EngineSetRemote{words[1], {must(bondd::parse_ip(words[2])), port}}));
  } else if ((words[0] == "add" || words[0] == "rebind") && words.size() == 2) {
    const LinkArgument argument = parse_link(words[1]);
    const UniqueFd socket = must(mlvpn::open_udp(argument.udp));
    const int fd = socket.get();
    if (words[0] == "add") {
      must(engine.request(ipc::EngineAddLink{argument.link}, std::span{&fd, 1}));
    } else {
      must(engine.request(ipc::EngineReplaceSocket{argument.link.name}, std::span{&fd, 1}));
    }
  } else {
    std::fprintf(stderr, "engine_runner: what is \"%s\"?\n", line.c_str());
  }
}

volatile std::sig_atomic_t stopped = 0;

// Until the engine is gone. Standard input ends without an effect.
void talk(ipc::EngineClient& engine) {
  std::string input;
  pollfd watched[2] = {{engine.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  bool said_stop = false;
  for (;;) {
    if (stopped != 0 && !said_stop) {
      said_stop = true;
      (void)engine.request(ipc::EngineStop{});
    }
    if (poll(watched, 2, 200) < 0) continue;
    if (watched[0].revents != 0) {
      auto report = engine.receive();
      while (report && *report) {
        std::printf("%s\n", ipc::render(**report).c_str());
        std::fflush(stdout);
        report = engine.receive();
      }
      if (!report) return;
    }
    if (watched[1].revents != 0) {
      char buffer[4096];
      const ssize_t got = read(STDIN_FILENO, buffer, sizeof(buffer));
      if (got <= 0) {
        watched[1].fd = -1;
        continue;
      }
      input.append(buffer, static_cast<std::size_t>(got));
      for (std::size_t end = 0; (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1)) {
        obey(engine, input.substr(0, end));
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  const UniqueFd tun =
      arguments.vnet ? must(mlvpn::open_tun(arguments.tun, arguments.tap)) : open_bare_tun(arguments.tun);
  set_mtu(arguments.tun, arguments.mtu);
  std::vector<UniqueFd> sockets;
  std::vector<int> fds;
  for (const LinkArgument& argument : arguments.links) {
    sockets.push_back(must(mlvpn::open_udp(argument.udp)));
    fds.push_back(sockets.back().get());
    arguments.start.links.push_back(argument.link);
  }
  auto engine = must(ipc::EngineClient::spawn({.program = arguments.engine, .user = arguments.user}));
  std::printf("{\"pid\":%d}\n", engine.pid());
  std::fflush(stdout);
  must(engine.start(arguments.start, tun.get(), keys_of(arguments.password).span(), fds));
  sockets.clear();
  talk(engine);
  int status = 0;
  waitpid(engine.pid(), &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
