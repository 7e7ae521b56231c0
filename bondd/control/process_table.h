// The seam between a plan's processes and whatever supervises them.
#pragma once

#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/model/state.h"

namespace bondd::control {

class ProcessTable {
 public:
  virtual ~ProcessTable() = default;
  // Writes the process' files and starts it; from then on it is kept running.
  virtual Result<> start(const model::Process& process) = 0;
  // Asks it to end. One that is not there is success. Does not wait.
  virtual Result<> stop(const std::string& id) = 0;
  // What is kept running, also what waits for its next start after it died, but
  // not what has been asked to end.
  [[nodiscard]] virtual std::vector<model::Process> running() const = 0;
};

}  // namespace bondd::control
