// The steps after the reader: values into a model::Config, then the rules that span
// several keys, then those that need the machine. Each reports all that it finds and
// passes over what an earlier step found mistaken.
#pragma once

#include <filesystem>

#include "bondd/config/config.h"
#include "bondd/config/reader.h"
#include "bondd/model/config.h"

namespace bondd::config {

// What the sections hold, with the documented defaults; mistaken and missing keys keep
// the value of model::Config's own default. `file` is absolute.
model::Config build(const Sections& sections, const std::filesystem::path& file, std::string_view site);

// Rules between keys: equal ports, a peer outside its network, a policy for no WAN, …
void check_rules(const Sections& sections, const model::Config& config, Purpose purpose, Report& report);

// Rules that look at the machine: key files, devices, boxes.
void check_machine(const Sections& sections, const model::Config& config, const CheckContext& context,
                   Purpose purpose, Report& report);

}  // namespace bondd::config
