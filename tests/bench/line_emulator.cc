// A line between two network namespaces, by netem's rules, where the kernel has no
// netem: one TUN device in each namespace, and this process between them.
//
//   line_emulator --left NETNS --right NETNS --device NAME --line "delay 20ms rate 50mbit"
//                 [--back "…"] [--directory DIR] [--seed N]
//
// `--line` is both directions unless `--back` gives the one from right to left its own.
// Recordings (`trace FILE`) are looked up in DIR; they begin with the first packet.
// The devices are made here (addresses are the caller's affair) and go with the process.
// Prints "ready", then takes commands on standard input, one a line:
//   cut, heal, line SPEC, back SPEC (as above), begin (recordings begin anew), stats
// Ends with standard input. Needs root. Packets are IP; netem's sizes are those of
// Ethernet frames, so 14 bytes are added to each.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/unique_fd.h"
#include "tests/sim/netem.h"

namespace {

using namespace bondd;
using namespace std::chrono_literals;

constexpr std::size_t kEthernet = 14;
constexpr std::size_t kMaxPacket = 2048;
// Like the interrupts of a network card: at most so often, or the wake-ups for single
// packets of a fast line take the processor from what is measured.
constexpr auto kTick = 150us;

// A packet's memory, used again and again.
class Packets {
 public:
  using Index = std::uint32_t;
  struct Slot {
    std::array<std::uint8_t, kMaxPacket> bytes;
    std::size_t size;
  };
  Index take() {
    if (free_.empty()) {
      slots_.push_back(std::make_unique<Slot>());
      return static_cast<Index>(slots_.size() - 1);
    }
    const Index index = free_.back();
    free_.pop_back();
    return index;
  }
  void give(Index index) { free_.push_back(index); }
  Slot& operator[](Index index) { return *slots_[index]; }

 private:
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Index> free_;
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "line_emulator: %s\n", what.c_str());
  std::exit(1);
}

UniqueFd open_tun(const std::string& space, const std::string& device) {
  const UniqueFd own(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  const UniqueFd other(open(("/run/netns/" + space).c_str(), O_RDONLY | O_CLOEXEC));
  if (!other || setns(other.get(), CLONE_NEWNET) != 0)
    fail("namespace " + space + ": " + std::strerror(errno));
  UniqueFd tun(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  if (!tun || ioctl(tun.get(), TUNSETIFF, &request) != 0) fail(device + ": " + std::strerror(errno));
  if (setns(own.get(), CLONE_NEWNET) != 0) fail("cannot come back from " + space);
  return tun;
}

// One direction: reads `from`, writes `to`.
struct Direction {
  int from, to;
  sim::NetemQueue<Packets::Index> queue;
};

void read_all(Direction& d, Packets& packets, TimePoint now) {
  for (int i = 0; i < 256; ++i) {
    const Packets::Index index = packets.take();
    const ssize_t n = read(d.from, packets[index].bytes.data(), kMaxPacket);
    if (n <= 0) return packets.give(index);
    packets[index].size = static_cast<std::size_t>(n);
    // The queue drops packets without a word: whether it did is seen by its counters.
    const auto dropped = d.queue.lost() + d.queue.overflowed();
    d.queue.enqueue(now, index, static_cast<std::size_t>(n) + kEthernet, [&](Packets::Index original) {
      const Packets::Index copy = packets.take();
      packets[copy] = packets[original];
      return copy;
    });
    if (d.queue.lost() + d.queue.overflowed() != dropped) packets.give(index);
  }
}

void write_due(Direction& d, Packets& packets, TimePoint now) {
  while (const auto index = d.queue.dequeue(now)) {
    // A full receiver drops, as a network card would.
    [[maybe_unused]] const ssize_t n = write(d.to, packets[*index].bytes.data(), packets[*index].size);
    packets.give(*index);
  }
}

std::string directory = ".";  // of recordings

sim::LineSpec spec_or_fail(const std::string& text) {
  const auto spec = sim::parse_line_spec(text, directory);
  if (!spec) fail(spec.error().message);
  return *spec;
}

void obey(const std::string& command, Direction& there, Direction& back) {
  if (command == "cut" || command == "heal") {
    for (Direction* d : {&there, &back}) d->queue.set_cut(command == "cut");
  } else if (command.starts_with("line ")) {
    for (Direction* d : {&there, &back}) d->queue.set_spec(spec_or_fail(command.substr(5)));
  } else if (command.starts_with("back ")) {
    back.queue.set_spec(spec_or_fail(command.substr(5)));
  } else if (command == "begin") {
    for (Direction* d : {&there, &back}) d->queue.begin(std::chrono::steady_clock::now());
  } else if (command == "stats") {
    for (const Direction* d : {&there, &back}) {
      std::printf("%llu offered, %llu lost, %llu overflowed, %zu queued\n",
                  static_cast<unsigned long long>(d->queue.offered()),
                  static_cast<unsigned long long>(d->queue.lost()),
                  static_cast<unsigned long long>(d->queue.overflowed()), d->queue.length());
    }
  } else {
    std::printf("unknown command '%s'\n", command.c_str());
  }
  std::fflush(stdout);
}

// False when standard input has ended.
bool read_commands(std::string& pending, Direction& there, Direction& back) {
  char text[512];
  const ssize_t n = read(STDIN_FILENO, text, sizeof text);
  if (n <= 0) return false;
  pending.append(text, static_cast<std::size_t>(n));
  for (std::size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
    obey(pending.substr(0, end), there, back);
  }
  return true;
}

void run(Direction& there, Direction& back) {
  Packets packets;
  std::string pending;
  for (;;) {
    TimePoint now = std::chrono::steady_clock::now();
    std::optional<TimePoint> next;
    for (Direction* d : {&there, &back}) {
      write_due(*d, packets, now);
      const auto time = d->queue.next_time();
      if (time && (!next || *time < *next)) next = *time;
    }
    const timespec tick{0, std::chrono::nanoseconds(kTick).count()};
    nanosleep(&tick, nullptr);
    timespec wait{};
    if (next) {
      const auto left = std::max(Duration(0), *next - std::chrono::steady_clock::now());
      wait = {left / 1s, (left % 1s).count()};
    }
    std::array<pollfd, 3> fds{pollfd{there.from, POLLIN, 0}, pollfd{back.from, POLLIN, 0},
                              pollfd{STDIN_FILENO, POLLIN, 0}};
    if (ppoll(fds.data(), fds.size(), next ? &wait : nullptr, nullptr) < 0 && errno != EINTR) fail("ppoll");
    now = std::chrono::steady_clock::now();
    if (fds[0].revents != 0) read_all(there, packets, now);
    if (fds[1].revents != 0) read_all(back, packets, now);
    if (fds[2].revents != 0 && !read_commands(pending, there, back)) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string left, right, device, line, back_line;
  std::uint64_t seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--left")
      left = value;
    else if (name == "--right")
      right = value;
    else if (name == "--device")
      device = value;
    else if (name == "--line")
      line = value;
    else if (name == "--back")
      back_line = value;
    else if (name == "--directory")
      directory = value;
    else if (name == "--seed")
      seed = std::strtoull(value.c_str(), nullptr, 10);
    else
      fail("unknown argument " + name);
  }
  if (left.empty() || right.empty() || device.empty() || line.empty()) {
    fail(
        "usage: line_emulator --left NETNS --right NETNS --device NAME --line SPEC [--back SPEC] "
        "[--directory DIR] [--seed N]");
  }
  const UniqueFd a = open_tun(left, device), b = open_tun(right, device);
  Direction there{a.get(), b.get(), {spec_or_fail(line), seed * 2}};
  Direction back{b.get(), a.get(), {spec_or_fail(back_line.empty() ? line : back_line), seed * 2 + 1}};
  // A line does not wait for a processor: ahead of what it carries, and without the
  // 50 us by which the kernel lets timers be late.
  sched_param priority{.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO, &priority);
  prctl(PR_SET_TIMERSLACK, 1000UL);
  std::puts("ready");
  std::fflush(stdout);
  run(there, back);
}
