// What is answered to a request. Pure but for the clock that is handed in.
//
//   /                     the page, or with a token that was not shown yet the way in
//   /page.js …            its files; they hold nothing of the site
//   /metrics              Prometheus
//   /status               MLVPN's own shape
//   /api/v1/status        as `bondd status --json NAME`
//   /api/v1/events        what `bondd monitor --json` told, as an array, the newest last
//   /api/v1/site          of the site's file
//   /api/v1/live          all that the page asks for, four times a second
//   /login                takes a token ("Authorization: Bearer …") for a cookie
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bondd/web/access.h"
#include "bondd/web/site_view.h"

namespace bondd::web {

struct Response {
  unsigned status = 200;
  std::string type, body;
  std::vector<std::pair<std::string, std::string>> headers = {};  // beside kAlways
};

// Sent with every answer: nothing from elsewhere is loaded, nobody shows the page inside of his.
extern const std::vector<std::pair<std::string, std::string>> kAlways;

struct PageFile {
  std::string type, text;
};
using PageFiles = std::map<std::string, PageFile>;  // by path: "/page.js"

// All files of the page in `folder`, of the kinds that a page has. Fails when there is no page.
Result<PageFiles> read_page(const std::filesystem::path& folder);

class Pages {
 public:
  using Metrics = std::function<std::string(const model::SiteStatus&)>;

  Pages(Gate gate, PageFiles files, Metrics metrics)
      : gate_(std::move(gate)), files_(std::move(files)), metrics_(std::move(metrics)) {}

  // `now_ms` since 1970.
  [[nodiscard]] Response answer(const Request& request, const SiteView& site, std::int64_t now_ms) const;

 private:
  [[nodiscard]] Response file(const std::string& path, unsigned status = 200) const;
  [[nodiscard]] Response enter(const Request& request) const;
  [[nodiscard]] Response refuse(const Request& request, const char* why) const;
  [[nodiscard]] Response data(const Request& request, const SiteView& site, std::int64_t now_ms) const;

  Gate gate_;
  PageFiles files_;
  Metrics metrics_;
};

}  // namespace bondd::web
