#include "bondd/web/pages.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <system_error>

#include "bondd/base/file.h"

namespace bondd::web {
namespace {

namespace fs = std::filesystem;

constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kJson = "application/json";
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kIndex = "/index.html";
constexpr const char* kLoginPage = "/login.html";
// For how long a browser keeps the cookie: a new token ends it at any time.
constexpr std::int64_t kCookieLife = std::int64_t{30} * 24 * 3600;

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kTypes = {
    {{".html", "text/html; charset=utf-8"},
     {".css", "text/css; charset=utf-8"},
     {".js", "text/javascript; charset=utf-8"},
     {".svg", "image/svg+xml"}}};

Response text(unsigned status, std::string_view body) {
  return {status, kText, fmt::format("{}\n", body)};
}

Response json(std::string body) {
  return {200, kJson, std::move(body) + "\n"};
}

// 0 when it is not there, or no number.
std::uint64_t number(const Request& request, const char* name) {
  std::uint64_t value = 0;
  const auto found = request.arguments.find(name);
  if (found != request.arguments.end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  return value;
}

}  // namespace

const std::vector<std::pair<std::string, std::string>> kAlways = {
    {"Content-Security-Policy",
     "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-store"}};

Result<PageFiles> read_page(const fs::path& folder) {
  PageFiles files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    for (const auto& [extension, type] : kTypes) {
      if (entry.path().extension() != extension) continue;
      auto content = read_file(entry.path());
      if (!content) return tl::make_unexpected(content.error());
      files["/" + entry.path().filename().string()] = {std::string(type), std::move(*content)};
    }
  }
  if (!files.contains(kIndex) || !files.contains(kLoginPage))
    return failure(fmt::format("the page is not in {}", folder.string()));
  return files;
}

Response Pages::answer(const Request& request, const SiteView& site, std::int64_t now_ms) const {
  if (request.method != "GET" && request.method != "HEAD") {
    Response response = text(405, "only GET is answered");
    response.headers.emplace_back("Allow", "GET, HEAD");
    return response;
  }
  switch (gate_.judge(request)) {
    case Verdict::kForeignHost:
      return text(421, "this is not a name or an address of this page");
    case Verdict::kForeignOrigin:
      return text(403, "pages of other sites get no answer");
    case Verdict::kNoToken:
      return refuse(request, "a token is needed");
    case Verdict::kWrongToken:
      return refuse(request, "the token is wrong");
    case Verdict::kMayEnter:
      if (request.path == "/login" || request.arguments.contains("token")) return enter(request);
      break;
    case Verdict::kMaySee:
      break;
  }
  return data(request, site, now_ms);
}

Response Pages::file(const std::string& path, unsigned status) const {
  const auto found = files_.find(path);
  if (found == files_.end()) return text(404, "there is no such page");
  return {status, found->second.type, found->second.text};
}

// The page's own files are no secret, and the way in needs some of them.
Response Pages::refuse(const Request& request, const char* why) const {
  if (request.path == "/") return file(kLoginPage, 401);
  if (request.path != kIndex && files_.contains(request.path)) return file(request.path);
  Response response = text(401, why);
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

// A token in the address stays nowhere: the browser is led to the address without it.
Response Pages::enter(const Request& request) const {
  Response response = text(204, "");
  response.body.clear();
  if (request.arguments.contains("token")) {
    response = text(303, "go on there");
    response.headers.emplace_back("Location", "/");
  }
  response.headers.emplace_back("Set-Cookie",
                                fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict", kCookie,
                                            gate_.cookie(), kCookieLife));
  return response;
}

Response Pages::data(const Request& request, const SiteView& site, std::int64_t now_ms) const {
  if (request.path == "/") return file(kIndex);
  if (files_.contains(request.path)) return file(request.path);
  if (request.path == "/api/v1/site") return json(site.site_json());
  if (request.path == "/api/v1/events") return json(site.events_json());
  if (request.path == "/api/v1/live")
    return json(site.live_json(now_ms, number(request, "sample"), number(request, "event")));
  const bool of_status =
      request.path == "/metrics" || request.path == "/status" || request.path == "/api/v1/status";
  if (!of_status) return text(404, "there is no such page");
  if (site.empty()) return text(503, "bondd has not told its state yet");
  if (request.path == "/metrics") return {200, kMetricsType, metrics_(site.status())};
  return json(request.path == "/status" ? site.mlvpn_json() : site.status_json());
}

}  // namespace bondd::web
