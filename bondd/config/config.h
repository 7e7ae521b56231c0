// A site's file on its way to a checked model::Config.
//
//   text -> document (toml++ -> plain nodes with line and column)    document.cc
//        -> every key against the one table of keys                  schema.cc, reader.cc
//        -> model::Config                                            build.cc
//        -> what spans keys: equal ports, a peer outside the network check.cc, traffic.cc
//        -> what depends on the machine: key files, gateways, devices machine.cc
//
// Nothing stops at the first mistake: whoever edits the file sees them all at once, each
// with its line and column and what to write instead. A file that has an error gives
// no Config, so that no half-valid site can start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/model/config.h"
#include "netlink/rtnl.h"

namespace bondd::config {

enum class Severity : std::uint8_t { kError, kWarning };

// One mistake, or one thing the admin should know. Lines and columns count from 1;
// both are 1 when it is about the file as a whole, 0 when there is no file to look into.
struct Diagnostic {
  std::filesystem::path file;  // as it was given to load()
  std::size_t line = 1, column = 1;
  Severity severity = Severity::kError;
  std::string message;  // one line, without control characters, never a secret
  // A warning of what may change at any time and what a running site says itself: its WANs' ways out.
  bool of_the_moment = false;
  auto operator<=>(const Diagnostic&) const = default;
};

// "office.toml:9:11: message", or "office.toml:9:11: warning: message".
std::string to_string(const Diagnostic& diagnostic);

struct Loaded {
  std::optional<model::Config> config;  // none if any diagnostic is an error
  std::vector<Diagnostic> diagnostics;  // in the file's order
  std::string text;                     // as it was read; empty when it could not be
};

// What the check needs of the machine. Tests have their own; make_system_context()
// is the real one, which needs no privileges.
class CheckContext {
 public:
  struct FileFacts {
    bool regular = false;
    std::uint32_t permissions = 0;  // the nine rwx bits
    std::uint64_t size = 0;
    std::string
        unsafe;  // who else could change it, with the cure (unsafe_path in base/secret.h); empty: nobody
  };
  // A port at which a program of this machine waits for the Internet.
  struct Listener {
    model::Protocol proto = model::Protocol::kTcp;
    std::uint16_t port = 0;
    auto operator<=>(const Listener&) const = default;
  };

  virtual ~CheckContext() = default;

  // Follows symbolic links. Error::code is the errno.
  [[nodiscard]] virtual Result<FileFacts> stat(const std::filesystem::path& file) const = 0;
  // The first `limit` bytes at most. Only called for regular files. EACCES is no
  // mistake of the file: checking works without the right to read keys.
  [[nodiscard]] virtual Result<std::string> read(const std::filesystem::path& file,
                                                 std::size_t limit) const = 0;
  // Devices, addresses and routes. None if they cannot be read: rules that need them are not checked then.
  [[nodiscard]] virtual std::optional<netlink::Snapshot> network() const = 0;
  // The device that has `name` as another one (`ip link property add dev DEVICE altname NAME`); empty: none.
  [[nodiscard]] virtual std::string device_with_altname(const std::string& /*name*/) const { return {}; }
  // Each once, in order; without those that only this machine itself reaches (127.0.0.1). Empty also when
  // they are not known.
  [[nodiscard]] virtual std::vector<Listener> listeners() const { return {}; }
  // Site files beside `file`, by name without .toml; for "did you mean".
  [[nodiscard]] virtual std::vector<std::string> sites_beside(const std::filesystem::path& /*file*/) const {
    return {};
  }
};

// stat(2), open(2), and whatever reads the network.
class SystemContext final : public CheckContext {
 public:
  using ReadNetwork = std::function<Result<netlink::Snapshot>()>;

  // `read_network` may be empty: the network is not known then.
  explicit SystemContext(ReadNetwork read_network = {}) : read_network_(std::move(read_network)) {}

  [[nodiscard]] Result<FileFacts> stat(const std::filesystem::path& file) const override;
  [[nodiscard]] Result<std::string> read(const std::filesystem::path& file, std::size_t limit) const override;
  [[nodiscard]] std::optional<netlink::Snapshot> network() const override;
  [[nodiscard]] std::string device_with_altname(const std::string& name) const override;
  [[nodiscard]] std::vector<Listener> listeners() const override;  // from /proc/net
  [[nodiscard]] std::vector<std::string> sites_beside(const std::filesystem::path& file) const override;

 private:
  ReadNetwork read_network_;
};

// What the file is loaded for.
//   kRun      this machine shall be what the file says
//   kMakeKey  `bondd key` makes the very things that a complete file must have, so it
//             cannot ask for them
enum class Purpose : std::uint8_t { kRun, kMakeKey };

// Reads and checks `file`. Never throws, whatever the file holds; a file that cannot
// be read is one diagnostic. Paths in the Config are absolute.
Loaded load(const std::filesystem::path& file, const CheckContext& context, Purpose purpose = Purpose::kRun);

// The same for a text that is already there; `file` names it and is where relative paths start.
Loaded load_text(std::string_view text, const std::filesystem::path& file, const CheckContext& context,
                 Purpose purpose = Purpose::kRun);

// What commands take as FILE: a path if it has a '/' or ends in ".toml", else a site's
// name, for /etc/bondd/NAME.toml. Fails on what can be neither.
Result<std::filesystem::path> resolve_site_file(std::string_view argument);

// The site's name: the file's stem. Fails if that is not 1 to 64 letters, digits, '-',
// '_' and '.', the first a letter or digit.
Result<std::string> site_name(const std::filesystem::path& file);

}  // namespace bondd::config
