// [web]: who may see the page, what is answered, and what bondd tells the process behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bondd/ipc/messages.h"
#include "bondd/ipc/web_protocol.h"
#include "bondd/web/access.h"
#include "bondd/web/pages.h"
#include "bondd/web/site_view.h"

namespace bondd::web {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;

const std::string kToken = "0123456789abcdef-token";

IpAddress ip(const char* text) {
  return parse_ip(text).value();
}

// --- whose names these are ---

TEST(WebHost, LocalhostLoopbackOwnAddressAndNameAreThisMachine) {
  const OwnNames names{ip("192.168.1.252"), "gate"};
  for (const char* host : {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:9000", "[::1]:8080",
                           "192.168.1.252:8080", "gate", "Gate:8080"}) {
    EXPECT_TRUE(is_own_host(host, names)) << host;
  }
}

TEST(WebHost, EveryOtherNameIsForeign) {
  const OwnNames names{ip("192.168.1.252"), "gate"};
  for (const char* host :
       {"", "evil.example", "evil.example:8080", "gate.evil.example", "localhost.evil.example",
        "127.0.0.1.evil.example", "192.168.1.253", "192.168.1.252@evil.example", "[::1", "[::1]x",
        "localhost:80:80", "localhost:x", "gate:8080/", "2130706433", "0x7f.1", ":8080", "[]:80"}) {
    EXPECT_FALSE(is_own_host(host, names)) << host;
  }
}

TEST(WebHost, WhereItListensAtAllAddressesAnyAddressIsOwnButNoName) {
  const OwnNames names{ip("0.0.0.0"), ""};
  EXPECT_TRUE(is_own_host("10.1.2.3:8080", names));
  EXPECT_TRUE(is_own_host("[2001:db8::1]:8080", names));
  EXPECT_FALSE(is_own_host("evil.example:8080", names));
  EXPECT_FALSE(is_own_host("", names));
}

TEST(WebOrigin, IsOwnWithTheHostOfTheRequestOnly) {
  EXPECT_TRUE(is_own_origin("http://localhost:8080", "localhost:8080"));
  EXPECT_TRUE(is_own_origin("https://gate", "Gate"));
  for (const char* origin :
       {"null", "http://localhost", "http://localhost:9999", "http://evil.example:8080", "localhost:8080",
        "http://localhost:8080.evil.example", "ftp://localhost:8080"}) {
    EXPECT_FALSE(is_own_origin(origin, "localhost:8080")) << origin;
  }
}

// --- the gate ---

Request request(const std::string& path = "/") {
  Request out;
  out.method = "GET";
  out.path = path;
  out.host = "localhost:8080";
  return out;
}

Gate gate(const std::string& token = kToken) {
  return Gate({ip("127.0.0.1"), "gate"}, secret_of(token));
}

TEST(WebGate, WithoutATokenOnlyHostAndOriginCount) {
  Request asks = request();
  EXPECT_EQ(gate("").judge(asks), Verdict::kMaySee);
  asks.origin = "http://evil.example";
  EXPECT_EQ(gate("").judge(asks), Verdict::kForeignOrigin);
  asks.host = "evil.example";
  EXPECT_EQ(gate("").judge(asks), Verdict::kForeignHost);
}

TEST(WebGate, TheTokenIsTakenFromTheHeaderAndTheArgument) {
  Request asks = request();
  EXPECT_EQ(gate().judge(asks), Verdict::kNoToken);
  asks.authorization = "Bearer " + kToken;
  EXPECT_EQ(gate().judge(asks), Verdict::kMayEnter);
  asks.authorization = "Bearer " + kToken + "x";
  EXPECT_EQ(gate().judge(asks), Verdict::kWrongToken);
  asks.authorization = "Basic " + kToken;
  EXPECT_EQ(gate().judge(asks), Verdict::kNoToken);
  asks.arguments["token"] = kToken;
  EXPECT_EQ(gate().judge(asks), Verdict::kMayEnter);
  asks.arguments["token"] = "";
  EXPECT_EQ(gate().judge(asks), Verdict::kWrongToken);
}

TEST(WebGate, TheCookieIsMadeOfTheTokenAndDoesNotShowIt) {
  const Gate here = gate();
  Request asks = request();
  asks.cookie = here.cookie();
  EXPECT_EQ(here.judge(asks), Verdict::kMaySee);
  EXPECT_EQ(gate().judge(asks), Verdict::kMaySee) << "after a restart";
  EXPECT_EQ(gate("another token, and long").judge(asks), Verdict::kWrongToken);
  EXPECT_EQ(asks.cookie.find(kToken), std::string::npos);
  asks.cookie = kToken;
  EXPECT_EQ(here.judge(asks), Verdict::kWrongToken);
}

TEST(WebGate, ATokenHelpsNoForeignPage) {
  Request asks = request();
  asks.authorization = "Bearer " + kToken;
  asks.origin = "http://evil.example";
  EXPECT_EQ(gate().judge(asks), Verdict::kForeignOrigin);
}

// --- answers ---

model::SiteStatus office(std::uint64_t bytes = 0) {
  model::SiteStatus site;
  site.name = "office";
  site.role = "client";
  site.backend = "mlvpn";
  site.state = model::SiteState::kUp;
  site.server = "203.0.113.10";
  for (const char* name : {"ovh", "orange"}) {
    model::WanStatus& wan = site.wans.emplace_back();
    wan.name = name;
    wan.state = model::WanState::kUp;
    wan.rx_bytes = bytes;
    wan.tx_bytes = bytes / 2;
    wan.rtt_ms = 41.7;
    wan.loss_percent = 1.9;
  }
  return site;
}

class WebSite : public testing::Test {
 protected:
  void tell(const model::SiteStatus& status, Duration after = 1s) {
    now_ += after;
    wall_ms_ += duration_cast<std::chrono::milliseconds>(after).count();
    ASSERT_TRUE(site_.handle_status(now_, wall_ms_, ipc::status_json(status)));
  }
  [[nodiscard]] json live(std::uint64_t sample = 0, std::uint64_t event = 0) const {
    return json::parse(site_.live_json(wall_ms_, sample, event));
  }
  static model::Problem problem(const char* code, const char* wan) {
    return {code, model::Severity::kError, wan, "text", "remedy", 0};
  }

  TimePoint now_{1000s};
  std::int64_t wall_ms_ = 1'800'000'000'000;
  SiteView site_{wall_ms_};
};

class WebPages : public WebSite {
 protected:
  [[nodiscard]] Response get(const Request& asks) const { return pages_.answer(asks, site_, wall_ms_); }
  static Pages make(const std::string& token) {
    return {gate(token),
            {{"/index.html", {"text/html", "INDEX"}},
             {"/login.html", {"text/html", "LOGIN"}},
             {"/page.css", {"text/css", "CSS"}}},
            [](const model::SiteStatus& site) { return "metrics of " + site.name; }};
  }
  static std::string header(const Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return {};
  }
  Pages pages_ = make(kToken);
};

TEST_F(WebPages, OnlyReadingMethodsAreAnswered) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get", "CONNECT"}) {
    Request asks = request();
    asks.method = method;
    EXPECT_EQ(get(asks).status, 405U) << method;
  }
}

TEST_F(WebPages, WithoutATokenNothingOfTheSiteIsShown) {
  tell(office());
  EXPECT_EQ(get(request()).status, 401U);
  EXPECT_EQ(get(request()).body, "LOGIN");
  for (const char* path : {"/status", "/metrics", "/api/v1/status", "/api/v1/live", "/api/v1/events",
                           "/api/v1/site", "/index.html", "/nothing", "/login", "/../etc/passwd"}) {
    EXPECT_EQ(get(request(path)).status, 401U) << path;
  }
  EXPECT_EQ(get(request("/page.css")).body, "CSS");
}

TEST_F(WebPages, ATokenInTheAddressIsExchangedForACookie) {
  Request asks = request();
  asks.arguments["token"] = kToken;
  const Response led = get(asks);
  EXPECT_EQ(led.status, 303U);
  EXPECT_EQ(header(led, "Location"), "/");
  const std::string cookie = header(led, "Set-Cookie");
  EXPECT_THAT(cookie, HasSubstr("; HttpOnly; SameSite=Strict"));
  EXPECT_EQ(cookie.find(kToken), std::string::npos);
  Request with_cookie = request();
  with_cookie.cookie = cookie.substr(6, cookie.find(';') - 6);
  EXPECT_EQ(get(with_cookie).body, "INDEX");
}

TEST_F(WebPages, TheFormShowsTheTokenInAHeader) {
  Request asks = request("/login");
  asks.authorization = "Bearer " + kToken;
  EXPECT_EQ(get(asks).status, 204U);
  EXPECT_THAT(header(get(asks), "Set-Cookie"), HasSubstr("bondd="));
  asks.authorization = "Bearer wrong";
  EXPECT_EQ(get(asks).status, 401U);
  EXPECT_EQ(header(get(asks), "Set-Cookie"), "");
}

TEST_F(WebPages, ProgramsShowTheTokenEachTime) {
  tell(office());
  Request asks = request("/metrics");
  asks.authorization = "Bearer " + kToken;
  EXPECT_EQ(get(asks).body, "metrics of office");
  asks.path = "/api/v1/status";
  EXPECT_EQ(get(asks).body, ipc::status_json(office()) + "\n");
  asks.path = "/nothing";
  EXPECT_EQ(get(asks).status, 404U);
}

TEST_F(WebPages, BeforeBonddToldAnythingThereIsNoState) {
  const Pages open = make("");
  for (const char* path : {"/status", "/metrics", "/api/v1/status"})
    EXPECT_EQ(open.answer(request(path), site_, wall_ms_).status, 503U) << path;
  EXPECT_EQ(json::parse(open.answer(request("/api/v1/live"), site_, wall_ms_).body)["status"], nullptr);
}

// --- what is shown ---

TEST_F(WebSite, RatesAreOfTheLastThreeSeconds) {
  tell(office(0));
  EXPECT_EQ(live()["samples"][0]["wans"]["ovh"]["rx_mbit"], nullptr);
  tell(office(125'000));
  tell(office(250'000));
  tell(office(500'000));
  const json samples = live()["samples"];
  EXPECT_DOUBLE_EQ(samples[1]["wans"]["ovh"]["rx_mbit"], 1.0);
  EXPECT_DOUBLE_EQ(samples[2]["wans"]["ovh"]["rx_mbit"], 1.0);
  EXPECT_NEAR(samples[3]["wans"]["ovh"]["rx_mbit"], 4.0 / 3, 1e-9);
  EXPECT_NEAR(samples[3]["wans"]["ovh"]["tx_mbit"], 2.0 / 3, 1e-9);
  EXPECT_EQ(samples[3]["wans"]["ovh"]["rtt_ms"], 41.7);
}

TEST_F(WebSite, ACounterThatBeginsAnewHasNoRate) {
  tell(office(5'000'000));
  tell(office(0));
  EXPECT_EQ(live()["samples"][1]["wans"]["ovh"]["rx_mbit"], nullptr);
}

TEST_F(WebSite, NewsInBetweenIsNoSampleAndOldSamplesGo) {
  for (std::size_t i = 0; i < SiteView::kSamplesKept + 5; ++i) {
    tell(office(i));
    tell(office(i), 0s);
  }
  const json samples = live()["samples"];
  EXPECT_EQ(samples.size(), SiteView::kSamplesKept);
  const std::uint64_t last = samples.back()["number"];
  EXPECT_EQ(live(last)["samples"].size(), 0U);
  EXPECT_EQ(live(last - 1)["samples"].size(), 1U);
}

TEST_F(WebSite, EventsGoOnAfterTheLastOneThatWasSeen) {
  for (std::size_t i = 0; i < SiteView::kEventsKept + 5; ++i)
    site_.handle_event(
        ipc::render(model::Event{1'800'000'000, "office", "ovh", "wan", "up", "silent", "why"}));
  site_.handle_event("no JSON");
  const json events = live()["events"];
  EXPECT_EQ(events.size(), SiteView::kEventsKept);
  EXPECT_EQ(live(0, events[SiteView::kEventsKept - 3]["number"])["events"].size(), 2U);
  EXPECT_EQ(json::parse(site_.events_json())[0]["to"], "silent");
}

TEST_F(WebSite, ALineIsCutAtTheFirstHopThatFails) {
  model::SiteStatus status = office();
  status.wans[0].state = model::WanState::kSilent;
  tell(status);
  EXPECT_EQ(live()["broken"], json({{"ovh", ""}})) << "cut, and not known yet where";
  status.problems = {problem("port-silent", "ovh"), problem("gateway-silent", "ovh"),
                     problem("line-dead", "orange")};
  tell(status);
  EXPECT_EQ(live()["broken"], json({{"ovh", "gateway"}}));
  status.problems = {problem("engine-down", "")};
  tell(status);
  EXPECT_EQ(live()["broken"], json({{"ovh", "program"}}));
  status.problems = {problem("wan-stopped", "ovh")};
  tell(status);
  EXPECT_EQ(live()["broken"], json({{"ovh", "program"}})) << "rules of others on this machine";
}

TEST_F(WebSite, WhatIsNotUnderstoodChangesNothing) {
  tell(office(7));
  EXPECT_FALSE(site_.handle_status(now_, wall_ms_, "{\"name\": 1}"));
  EXPECT_FALSE(site_.handle_status(now_, wall_ms_, "{"));
  EXPECT_FALSE(site_.handle_site("{"));
  EXPECT_EQ(site_.status(), office(7));
}

model::Config office_file() {
  model::Config config;
  config.site = "office";
  config.backend = model::Backend::kMlvpn;
  config.server.address = "203.0.113.10";
  config.bond.interface = "bond0";
  config.openvpn.peer_fingerprint = "AB:CD";
  config.mlvpn.password_file = "/etc/bondd/secret.password";
  config.web.token_file = "/etc/bondd/web.token";
  for (const char* name : {"ovh", "orange"})
    config.wans.push_back({.name = name, .device = "", .gateway = {}, .port = 1194});
  config.policies = {
      {"games", "orange", {{.proto = model::Protocol::kUdp, .dport = model::PortRange{27000, 30000}}}}};
  config.forwards = {{model::Protocol::kTcp, {80, 80}, ip("172.16.16.2"), {}}};
  return config;
}

TEST_F(WebSite, StatusHasMlvpnsShapeAndOrder) {
  ASSERT_TRUE(site_.handle_site(ipc::web_site_json(office_file(), 1'700'000'000, 1'700'000'100)));
  tell(office(1000));
  model::SiteStatus cut = office(1000);
  cut.wans[0].state = model::WanState::kSilent;
  cut.wans[0].rtt_ms.reset();
  tell(cut);
  EXPECT_EQ(
      site_.mlvpn_json(),
      "{\"name\":\"bondd\",\"version\":\"1.1\",\"uptime\":1700000000,\"last_reload\":1700000100,\"pid\":0,"
      "\"tuntap\":{\"type\":\"tun\",\"name\":\"bond0\"},\"tunnels\":["
      "{\"name\":\"orange\",\"mode\":\"client\",\"bindaddr\":\"\",\"bindport\":\"\",\"destaddr\":\"203.0.113."
      "10\","
      "\"destport\":\"1194\",\"status\":\"connected\",\"sentpackets\":0,\"recvpackets\":0,\"sentbytes\":500,"
      "\"recvbytes\":1000,\"bandwidth\":0,\"srtt\":41,\"loss\":1,\"disconnects\":0,\"last_packet\":"
      "1800000002,"
      "\"timeout\":30},"
      "{\"name\":\"ovh\",\"mode\":\"client\",\"bindaddr\":\"\",\"bindport\":\"\",\"destaddr\":\"203.0.113."
      "10\","
      "\"destport\":\"1194\",\"status\":\"disconnected\",\"sentpackets\":0,\"recvpackets\":0,\"sentbytes\":"
      "500,"
      "\"recvbytes\":1000,\"bandwidth\":0,\"srtt\":0,\"loss\":1,\"disconnects\":1,\"last_packet\":1800000001,"
      "\"timeout\":30}]}");
}

// --- bondd's words ---

TEST(WebProtocol, TheFileIsToldWithoutWhereItsSecretsAre) {
  const std::string text = ipc::web_site_json(office_file(), 1, 2);
  const json site = json::parse(text);
  EXPECT_EQ(site["policies"][0]["match"][0]["dport"], "27000-30000");
  EXPECT_EQ(site["forwards"][0]["to_port"], "80");
  for (const char* secret : {"secret.password", "web.token", "AB:CD"})
    EXPECT_EQ(text.find(secret), std::string::npos);
}

TEST(WebProtocol, WhatIsRenderedIsReadAgain) {
  const auto message =
      ipc::parse_web_message(ipc::render(ipc::WebMessage{ipc::WebMessage::Kind::kEvent, "a\nb"}));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->kind, ipc::WebMessage::Kind::kEvent);
  EXPECT_EQ(message->text, "a\nb");
  const auto start = ipc::parse_web_start(ipc::render(ipc::WebStart{ip("::1"), "gate", secret_of(kToken)}));
  ASSERT_TRUE(start);
  EXPECT_EQ(start->address, ip("::1"));
  EXPECT_EQ(start->host_name, "gate");
  EXPECT_EQ(start->token.view(), kToken);
}

TEST(WebProtocol, AMistakeInTheFirstMessageDoesNotQuoteIt) {
  const auto start = ipc::parse_web_start("{\"token\": \"" + kToken + "\", \"address\":");
  ASSERT_FALSE(start);
  EXPECT_EQ(start.error().message.find(kToken), std::string::npos);
  EXPECT_FALSE(ipc::parse_web_message("start"));
  EXPECT_FALSE(ipc::parse_web_message("reload\n{}"));
}

}  // namespace
}  // namespace bondd::web
