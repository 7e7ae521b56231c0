// Looks the server's name up without ever blocking the loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/control/event_loop.h"

namespace bondd::control {

// The addresses of a name in the system's order of preference; a numeric address is itself,
// at once. Blocks, for a name as long as the system's resolver takes.
Result<std::vector<IpAddress>> resolve(const std::string& name);

// The same, waiting for `limit` at most; nothing when no answer has come until then.
std::optional<Result<std::vector<IpAddress>>> resolve_within(const std::string& name, Duration limit);

// How long the system's resolver has the word alone.
constexpr auto kSystemPatience = std::chrono::seconds(1);
// And how long the other way has, once the system's has failed: somebody waits to be told.
constexpr auto kOtherPatience = std::chrono::seconds(2);

class Resolver {
 public:
  using Answer = Result<std::vector<IpAddress>>;
  using Done = std::function<void(Answer)>;
  using Lookup = std::function<Answer(const std::string& name)>;  // may block; runs in a thread of its own
  // What of an answer can be used, or why nothing: an answer without use is a failure. Called on the loop.
  using Judge = std::function<Answer(const std::vector<IpAddress>&)>;

  explicit Resolver(EventLoop& loop, Lookup system = resolve);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Calls `done` on `loop`: at once (within the call) for a numeric address, else when the answer is
  // there or after `limit`. `other_way` (may be empty) is asked, too, when the system's resolver has failed
  // or is silent for kSystemPatience; the first answer counts, and of two failures the system's,
  // kOtherPatience after it came at the latest.
  // A newer start() makes an older one silent.
  void start(const std::string& name, Duration limit, Lookup other_way, Judge judge, Done done);
  [[nodiscard]] bool busy() const { return static_cast<bool>(done_); }

 private:
  struct Channel;
  void look_up(const Lookup& lookup, void (Resolver::*take)(const Answer&));
  [[nodiscard]] Answer judged(const Answer& answer) const { return answer ? judge_(*answer) : answer; }
  void take_system(const Answer& answer);
  void take_other(const Answer& answer);
  void ask_other_way();
  void finish(Answer answer);

  EventLoop& loop_;
  Lookup system_, other_way_;
  std::shared_ptr<Channel> channel_;
  std::uint64_t generation_ = 0;
  std::string name_;
  Judge judge_;
  Done done_;
  std::optional<Answer> system_answer_;  // a failure, while the other way is still asked
  bool other_asked_ = false, other_failed_ = false;
  Registration limit_, patience_;
};

}  // namespace bondd::control
