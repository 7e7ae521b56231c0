#include <cap-ng.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "bondd/base/file.h"
#include "bondd/supervise/lines.h"
#include "bondd/supervise/run_program.h"
#include "bondd/supervise/spawn.h"
#include "bondd/supervise/supervisor.h"

namespace bondd::supervise {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TimePoint now() {
  return std::chrono::steady_clock::now();
}

// A supervisor in a directory of its own, and what it told.
class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    std::string name = (fs::temp_directory_path() / "bondd-supervise-XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
    options_.run_dir = dir_;
    options_.grace = 300ms;
    options_.first_backoff = 20ms;
    options_.max_backoff = 80ms;
    options_.stable_after = 10s;
  }
  ~SupervisorTest() override {
    supervisor_.reset();
    fs::remove_all(dir_);
  }

  Supervisor& make() {
    Callbacks callbacks;
    callbacks.on_line = [this](const model::Process& p, std::string_view line) {
      lines_.push_back(p.id + ": " + std::string(line));
    };
    callbacks.on_exit = [this](const Exit& exit) { exits_.push_back(exit); };
    callbacks.on_started = [this](const model::Process&, pid_t) { ++started_; };
    callbacks.on_start_failed = [this](const model::Process&, const Error& e, Duration) {
      failures_.push_back(e.message);
    };
    supervisor_ = *make_supervisor(options_, callbacks);
    return *supervisor_;
  }

  // Runs the loop until `done` or for 5 s.
  template <typename Done>
  bool run_until(Done done) {
    const TimePoint end = now() + 5s;
    while (!done()) {
      if (now() > end) return false;
      pollfd fd{supervisor_->fd(), POLLIN, 0};
      ::poll(&fd, 1, 5);
      supervisor_->dispatch(now());
    }
    return true;
  }

  model::Process shell(const std::string& script, const std::string& id = "one") {
    model::Process process;
    process.id = id;
    process.wan = "ovh";
    process.argv = {"/bin/sh", "-c", script};
    return process;
  }

  [[nodiscard]] pid_t pid(const std::string& id = "one") const {
    for (const Child& child : supervisor_->children()) {
      if (child.process.id == id) return child.pid;
    }
    return -1;
  }

  fs::path dir_;
  Options options_;
  std::unique_ptr<Supervisor> supervisor_;
  std::vector<std::string> lines_, failures_;
  std::vector<Exit> exits_;
  int started_ = 0;
};

TEST_F(SupervisorTest, PassesOutputOnLineByLine) {
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("echo one >&2; printf 'two\nthree'; sleep 5")));
  ASSERT_TRUE(run_until([&] { return lines_.size() >= 2; }));
  EXPECT_THAT(lines_, ElementsAre("one: one", "one: two"));
  supervisor_->stop(now(), "one");
  ASSERT_TRUE(run_until([&] { return supervisor_->idle(); }));
  EXPECT_THAT(lines_, Contains("one: three"));
}

TEST_F(SupervisorTest, GivesAChildNothingButItsThreeDescriptorsAndACleanEnvironment) {
  const UniqueFd leaked(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC, as a careless library does
  make();
  ASSERT_TRUE(supervisor_->start(
      now(), shell("i=0; while [ $i -lt 40 ]; do [ -e /proc/$$/fd/$i ] && printf '%d ' $i; i=$((i+1)); done; "
                   "echo; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; cat; sleep 5")));
  ASSERT_TRUE(run_until([&] { return lines_.size() >= 2; }));
  EXPECT_EQ(lines_[0], "one: 0 1 2 ");
  EXPECT_THAT(lines_[1], HasSubstr("LC_ALL PATH PWD"));
}

TEST_F(SupervisorTest, WritesFilesBeforeTheStartAndRemovesThemAfterTheStop) {
  make();
  model::Process process = shell("cat " + (dir_ / "one.conf").string() + "; sleep 5");
  process.files = {{dir_ / "one.conf", "secret\n", 0600}};
  ASSERT_TRUE(supervisor_->start(now(), process));
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "one.conf").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  ASSERT_TRUE(run_until([&] { return !lines_.empty(); }));
  EXPECT_EQ(lines_[0], "one: secret");
  supervisor_->stop(now(), "one");
  ASSERT_TRUE(run_until([&] { return supervisor_->idle(); }));
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(SupervisorTest, NeverFollowsALinkWhereAFileShallBe) {
  fs::create_symlink(dir_ / "victim", dir_ / "one.conf");
  ASSERT_TRUE(write_file_atomically(dir_ / "one.conf", "text"));
  EXPECT_FALSE(fs::exists(dir_ / "victim"));
  EXPECT_FALSE(fs::is_symlink(dir_ / "one.conf"));
}

TEST_F(SupervisorTest, SaysWhyAProgramCannotBeStartedAndLeavesNothing) {
  make();
  model::Process process = shell("");
  process.argv = {"/nonexistent/openvpn"};
  process.files = {{dir_ / "one.conf", "x", 0600}};
  const Result<> started = supervisor_->start(now(), process);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "one: cannot start /nonexistent/openvpn: No such file or directory");
  EXPECT_TRUE(supervisor_->idle());
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(SupervisorTest, StartsTheDeadAgainWithGrowingPauses) {
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("echo why; exit 3")));
  ASSERT_TRUE(run_until([&] { return exits_.size() >= 5; }));
  EXPECT_EQ(exits_[0].status, 3);
  EXPECT_EQ(exits_[0].last_line, "why");
  EXPECT_EQ(exits_[0].wan, "ovh");
  EXPECT_FALSE(exits_[0].wanted);
  std::vector<Duration> pauses;
  for (std::size_t i = 0; i < 5; ++i) pauses.push_back(*exits_[i].retry_in);
  EXPECT_THAT(pauses, ElementsAre(20ms, 40ms, 80ms, 80ms, 80ms));
  EXPECT_GE(started_, 4);
  EXPECT_EQ(describe(exits_[0]), "ended with status 3, retrying in 20ms");
}

TEST_F(SupervisorTest, StopsWhatIgnoresSigtermAfterTheGrace) {
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("trap '' TERM; echo ready; while :; do sleep 0.05; done")));
  ASSERT_TRUE(run_until([&] { return !lines_.empty(); }));
  const TimePoint begin = now();
  supervisor_->stop(begin, "one");
  ASSERT_TRUE(run_until([&] { return supervisor_->idle(); }));
  EXPECT_GE(now() - begin, 300ms);
  ASSERT_THAT(exits_, SizeIs(1));
  EXPECT_TRUE(exits_[0].wanted);
  EXPECT_EQ(exits_[0].signal, SIGKILL);
}

TEST_F(SupervisorTest, ReplacesAChangedProcessOnceTheOldIsGone) {
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("echo old; sleep 5")));
  ASSERT_TRUE(run_until([&] { return !lines_.empty(); }));
  const pid_t old = pid();
  ASSERT_TRUE(supervisor_->start(now(), shell("echo new; sleep 5")));
  ASSERT_TRUE(run_until([&] { return lines_.size() == 2; }));
  EXPECT_EQ(lines_[1], "one: new");
  EXPECT_NE(pid(), old);
  EXPECT_EQ(::kill(old, 0), -1);
}

TEST_F(SupervisorTest, StartingTheSameTwiceIsOneProcess) {
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("sleep 5")));
  const pid_t first = pid();
  ASSERT_TRUE(supervisor_->start(now(), shell("sleep 5")));
  EXPECT_EQ(pid(), first);
}

TEST_F(SupervisorTest, RestartComesBackWithoutAPause) {
  options_.first_backoff = options_.max_backoff = 10s;
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("echo run; sleep 5")));
  ASSERT_TRUE(run_until([&] { return lines_.size() == 1; }));
  supervisor_->restart(now(), "one");
  ASSERT_TRUE(run_until([&] { return lines_.size() == 2; }));
}

TEST_F(SupervisorTest, StopWhileWaitingForTheNextStartIsTheEnd) {
  options_.first_backoff = options_.max_backoff = 10s;
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("exit 1")));
  ASSERT_TRUE(run_until([&] { return !exits_.empty(); }));
  supervisor_->stop(now(), "one");
  EXPECT_TRUE(supervisor_->idle());
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(SupervisorTest, AFloodOfOutputIsCutAndCounted) {
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done")));
  ASSERT_TRUE(run_until([&] { return !exits_.empty(); }));
  EXPECT_LT(lines_.size(), 1000U);
  EXPECT_THAT(lines_, Contains(HasSubstr("more lines in this second left out")));
}

TEST_F(SupervisorTest, ALaterSupervisorFindsAndEndsWhatWasLeft) {
  make();
  model::Process process = shell("sleep 100");
  process.files = {{dir_ / "one.conf", "x", 0600}};
  ASSERT_TRUE(supervisor_->start(now(), process));
  const pid_t left = pid();
  ASSERT_THAT(find_leftovers(dir_), SizeIs(1));
  EXPECT_EQ(find_leftovers(dir_)[0].pid, left);
  EXPECT_EQ(find_leftovers(dir_)[0].id, "one");
  ASSERT_TRUE(end_leftovers(dir_, 1s));
  EXPECT_THAT(find_leftovers(dir_), IsEmpty());
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(SupervisorTest, APidThatBelongsToSomebodyElseNowIsLeftAlone) {
  make();
  ASSERT_TRUE(supervisor_->start(now(), shell("sleep 100")));
  const pid_t alive = pid();
  const std::string text = *read_file(dir_ / "one.pid");
  for (const std::string key : {"started ", "arg -c", "boot "}) {
    std::string changed = text;
    changed.insert(changed.find(key) + key.size(), "9");
    ASSERT_TRUE(write_file_atomically(dir_ / "one.pid", changed));
    EXPECT_THAT(find_leftovers(dir_), IsEmpty()) << key;
  }
  ASSERT_TRUE(end_leftovers(dir_, 1s));
  EXPECT_EQ(::kill(alive, 0), 0);
  EXPECT_FALSE(fs::exists(dir_ / "one.pid"));
}

TEST_F(SupervisorTest, GarbageInAPidFileHarmsNobody) {
  for (const char* text : {"", "pid 1\n", "pid -1\narg x\n", "pid 99999999999999\narg x\n", "\n\n", "pid"}) {
    ASSERT_TRUE(write_file_atomically(dir_ / "one.pid", text));
    EXPECT_THAT(find_leftovers(dir_), IsEmpty());
    EXPECT_TRUE(end_leftovers(dir_, 1s));
  }
}

TEST_F(SupervisorTest, ChildrenDieWithTheirParent) {
  // The middle process starts a child and is killed; the child must be gone, too.
  std::array<int, 2> report{};
  ASSERT_EQ(::pipe2(report.data(), O_CLOEXEC), 0);
  const pid_t middle = ::fork();
  if (middle == 0) {
    const Result<Spawned> child = spawn({"/bin/sleep", "100"}, {});
    const pid_t made = child ? child->pid : -1;
    (void)!::write(report[1], &made, sizeof made);
    ::pause();
    ::_exit(0);
  }
  pid_t child = -1;
  ASSERT_EQ(::read(report[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  ASSERT_GT(child, 0);
  ::kill(middle, SIGKILL);
  ::waitpid(middle, nullptr, 0);
  const TimePoint end = now() + 3s;
  while (!arguments(child).empty() && now() < end) ::usleep(1000);
  EXPECT_THAT(arguments(child), IsEmpty());
  ::close(report[0]);
  ::close(report[1]);
}

TEST(RunProgram, GivesStatusAndBothOutputs) {
  const Result<ProgramResult> result = run_program({"sh", "-c", "cat; echo err >&2; exit 7"}, "in");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 7);
  EXPECT_EQ(result->output, "in");
  EXPECT_EQ(result->errors, "err\n");
}

TEST(RunProgram, CarriesMoreThanAPipeHolds) {
  const std::string big(1 << 20, 'x');
  const Result<ProgramResult> result = run_program({"cat"}, big);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->output, big);
}

TEST(RunProgram, DoesNotMindAProgramThatIgnoresItsInput) {
  const Result<ProgramResult> result = run_program({"true"}, std::string(1 << 20, 'x'));
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->ok());
}

TEST(RunProgram, EndsWhatTakesTooLong) {
  const Result<ProgramResult> result = run_program({"sleep", "10"}, {}, 50ms);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "/usr/bin/sleep did not end within 50ms");
}

TEST(RunProgram, SaysThatItIsNotInstalled) {
  const Result<ProgramResult> result = run_program({"no-such-program"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "no-such-program is not installed");
}

TEST(RunProgram, TellsTheSignal) {
  const Result<ProgramResult> result = run_program({"sh", "-c", "kill -9 $$"});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->signal, SIGKILL);
  EXPECT_FALSE(result->ok());
}

TEST(Lines, ArePrintable) {
  EXPECT_EQ(printable("a\tb\x1b[31mc\x7f"), "a b?[31mc?");
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(printable("\xff\xc3"), "??");
  EXPECT_EQ(printable("\xc2\x9b"), "??");       // a C1 control
  EXPECT_EQ(printable("\xed\xa0\x80"), "???");  // a surrogate
}

TEST(Lines, AreCutAtTheirLimitAndJoinedAcrossReads) {
  std::vector<std::string> lines;
  LineReader reader;
  const auto on_line = [&](std::string_view line) { lines.emplace_back(line); };
  reader.feed({}, "ab", on_line);
  reader.feed({}, "c\r\n", on_line);
  reader.feed({}, std::string(5000, 'x') + "\nend", on_line);
  reader.finish({}, on_line);
  EXPECT_THAT(lines, ElementsAre("abc", std::string(LineReader::kLineMax, 'x'), "end"));
}

// As bondd@.service has it: CAP_SETUID, but not CAP_KILL. In a process of its own, which loses the right.
int signal_without_cap_kill(int pidfd) {
  capng_get_caps_process();
  capng_update(CAPNG_DROP, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED), CAP_KILL);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return 2;
  const bool sent = send_signal(pidfd, SIGTERM).has_value();
  return sent && ::getuid() == 0 && ::geteuid() == 0 ? 0 : 1;
}

TEST(SendSignal, ReachesTheUnprivilegedUserWithoutTheRightToSignalAll) {
  const passwd* const user = unprivileged_user();
  if (::geteuid() != 0 || user == nullptr) GTEST_SKIP() << "needs root";
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(user->pw_uid, user->pw_uid, user->pw_uid) == 0) ::close(ready[1]);
    ::pause();
    ::_exit(0);
  }
  ::close(ready[1]);
  char none = 0;
  ASSERT_EQ(::read(ready[0], &none, 1), 0);  // it is that user's now
  ::close(ready[0]);
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  const pid_t sender = ::fork();
  if (sender == 0) ::_exit(signal_without_cap_kill(pidfd.get()));
  int status = 0;
  ASSERT_EQ(::waitpid(sender, &status, 0), sender);
  EXPECT_EQ(status, 0);
  if (status != 0) ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

}  // namespace
}  // namespace bondd::supervise
