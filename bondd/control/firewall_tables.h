// iptables-nft makes its tables and built-in chains on first use and leaves them. Those that were not there
// before the site came up go with it, if nobody else uses them by then.
#pragma once

#include "bondd/control/run_dir.h"

namespace bondd::control {

// To be called before the first use of iptables: writes down which tables and chains are not there. A note of
// a killed run stays.
Result<> note_absent_tables(RunDir& run_dir);
// Deletes what was noted and is empty.
Result<> remove_unused_tables(const RunDir& run_dir);

}  // namespace bondd::control
