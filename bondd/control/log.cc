#include "bondd/control/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

namespace bondd::control {
namespace {

constexpr std::size_t kFileSize = 4U << 20U;

// sd-daemon(3)'s prefixes, so that the journal knows what is serious.
class JournalFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const char* prefix = message.level >= spdlog::level::err    ? "<3>"
                         : message.level == spdlog::level::warn ? "<4>"
                         : message.level == spdlog::level::info ? "<6>"
                                                                : "<7>";
    const std::string_view start(prefix);
    out.append(start.data(), start.data() + start.size());
    out.append(message.payload.data(), message.payload.data() + message.payload.size());
    out.push_back('\n');
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override {
    return std::make_unique<JournalFormatter>();
  }
};

spdlog::sink_ptr stderr_sink(bool verbose) {
  spdlog::sink_ptr sink;
  if (std::getenv("JOURNAL_STREAM") != nullptr) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_st>();
    sink->set_formatter(std::make_unique<JournalFormatter>());
  } else if (isatty(STDERR_FILENO) == 1) {
    sink = std::make_shared<spdlog::sinks::stderr_color_sink_st>();
    sink->set_pattern("%H:%M:%S.%e %^%v%$");
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_st>();
    sink->set_pattern("%H:%M:%S.%e %v");
  }
  sink->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
  return sink;
}

class SpdLog : public Log {
 public:
  SpdLog(const std::vector<spdlog::sink_ptr>& sinks, spdlog::sink_ptr terminal)
      : logger_("bondd", sinks.begin(), sinks.end()), terminal_(std::move(terminal)) {
    logger_.set_level(spdlog::level::debug);
    logger_.flush_on(spdlog::level::debug);
  }
  // The text is an argument, not a pattern: a line of a child may hold braces.
  void info(std::string_view line) override { logger_.info("{}", line); }
  void warning(std::string_view line) override { logger_.warn("{}", line); }
  void error(std::string_view line) override { logger_.error("{}", line); }
  void detail(std::string_view line) override { logger_.debug("{}", line); }
  void leave_terminal() override {
    if (terminal_) terminal_->set_level(spdlog::level::off);
  }

 private:
  spdlog::logger logger_;
  spdlog::sink_ptr terminal_;  // may be null
};

}  // namespace

Result<std::unique_ptr<Log>> make_log(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks;
  spdlog::sink_ptr terminal;
  try {
    if (options.to_stderr) sinks.push_back(terminal = stderr_sink(options.verbose));
    if (!options.file.empty()) {
      const mode_t before = umask(077);
      auto sink = std::make_shared<spdlog::sinks::rotating_file_sink_st>(options.file.string(), kFileSize, 1);
      umask(before);
      sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
      sinks.push_back(sink);
    }
    if (options.to_syslog) {
      auto sink = std::make_shared<spdlog::sinks::syslog_sink_st>("bondd", 0, LOG_DAEMON, true);
      sink->set_pattern(options.site + ": %v");
      sink->set_level(spdlog::level::info);
      sinks.push_back(sink);
    }
  } catch (const spdlog::spdlog_ex& error) {
    return failure(std::string("cannot open the log: ") + error.what());
  }
  return std::make_unique<SpdLog>(sinks, std::move(terminal));
}

}  // namespace bondd::control
