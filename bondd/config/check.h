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

// An office has no LAN of a shorter prefix than 10.0.0.0/8; a shorter one is (a part of) the Internet.
constexpr int kShortestLan = 8;

// Rules between keys: equal ports, a peer outside its network, …
void check_rules(const Sections& sections, const model::Config& config, Purpose purpose, Report& report);

// Rules between keys of through_bond, [[policy]], [nat] and [[forward]]: a policy for no WAN, a forward of
// a tunnel's port, …
void check_traffic(const Sections& sections, const model::Config& config, Report& report);

// The command that makes a token for the page of [web].
std::string how_to_make_token(const std::filesystem::path& file);

// The files of keys and passwords.
void check_secret_files(const Sections& sections, const model::Config& config, const CheckContext& context,
                        Purpose purpose, Report& report);

// The program of [hooks].
void check_hook_file(const Sections& sections, const model::Config& config, const CheckContext& context,
                     Report& report);

// Rules that look at the machine's network: devices, gateways, ports.
void check_machine(const Sections& sections, const model::Config& config, const CheckContext& context,
                   Report& report);

}  // namespace bondd::config
