// `bondd config --effective`.
#include "bondd/config/effective.h"

#include <fmt/format.h>

#include "bondd/main/site_file.h"
#include "bondd/main/tools.h"

namespace bondd {

int config_command(const ConfigOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file) return kFailed;
  const auto checked = load_site_file(file->path);
  if (!checked) return kFailed;
  const auto settings = config::effective(checked->text);
  if (!settings) return say_error(settings.error()), kFailed;
  fmt::print("{}", config::to_text(*settings, file->path));
  return kDone;
}

}  // namespace bondd
