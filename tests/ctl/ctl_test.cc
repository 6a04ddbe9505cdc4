// SPDX-License-Identifier: BSD-3-Clause
// The command line from outside: what it prints, its exit code, and what it asks of a program. The program at the other
// end of the socket is a double that answers as statecast-proxy and statecast-agent do, and keeps what it was asked.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "control/admin.h"

namespace statecast {
namespace {

const std::string kSession = "tcp 198.51.100.7:40000 203.0.113.10:443";

std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class Ctl : public testing::Test {
 protected:
  Ctl() {
    char name[] = "/tmp/statecast-ctl-XXXXXX";
    folder_ = ::mkdtemp(name);
    ::unsetenv("STATECAST_SOCKET");
  }
  ~Ctl() override {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    std::filesystem::remove_all(folder_);
  }

  struct Ran {
    int code;
    std::string out, err;
  };
  Ran run(const std::string& arguments) const {
    std::string command = std::string(std::getenv("STATECAST_COMMAND")) + " " + arguments + " >" + folder_ + "/out 2>" +
                          folder_ + "/err </dev/null";
    int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(folder_ + "/out"), contents(folder_ + "/err")};
  }
  // At the double.
  Ran ask(const std::string& arguments) const { return run(arguments + " --socket " + socket()); }

  std::string socket() const { return folder_ + "/proxy-1.sock"; }

  // Starts the double: for each command the lines that it answers, the last of them with "last".
  void answer(const std::map<std::string, std::vector<Json>>& answers) {
    server_ = std::move(*AdminServer::listen(socket()));
    for (auto& [command, lines] : answers)
      server_->on(command, [this, lines = lines](const Json& request, AdminReply reply) {
        if (request["command"] != "status") asked_.push_back(request);
        // Two answers to a switch: the first to on, the second to off.
        if (request.contains("on")) return reply(lines[request["on"] ? 0 : 1], AdminLast::yes);
        for (size_t i = 0; i < lines.size(); ++i)
          reply(lines[i], i + 1 == lines.size() ? AdminLast::yes : AdminLast::no);
      });
    thread_ = std::thread([this] {
      while (!stop_) {
        pollfd p{server_->fd(), POLLIN, 0};
        ::poll(&p, 1, 5);
        server_->serve();
      }
    });
  }
  // What it was asked, apart from status. Ends the double.
  std::vector<Json> asked() {
    stop_ = true;
    thread_.join();
    return asked_;
  }

  std::string folder_;

 private:
  std::unique_ptr<AdminServer> server_;
  std::vector<Json> asked_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

const Json kProxyStatus = Json::parse(R"({"program": "statecast-proxy", "id": 1, "uptime_ms": 200000, "in_sync": true,
  "degraded": true, "view": {"revision": 3, "hash": "89abcdef", "replicas": 3, "writes": 2},
  "peers": [{"id": 2, "heard": true, "permit": true, "out_of_sync": false, "rtt_us": 120, "changes_pending": 0},
            {"id": 3, "heard": false, "permit": false, "out_of_sync": true, "rtt_us": null, "changes_pending": 12}],
  "members": [{"id": 7, "reachable": true, "address": "10.0.0.7:6081", "heard_ms": 120}],
  "groups": [{"id": 10, "name": "web", "members": [7, 8], "reachable": 1}],
  "directory": {"records": 1234, "tombstones": 1, "placed": 0, "holders": 5}, "questions": 2,
  "cache": {"entries": 12, "negative": 3, "evicted": 0, "capacity": 1000000},
  "counters": {"rx.all.packets": 1000, "resolve.drop.revoked.packets": 41, "parse.drop.bad_port.packets": 0}})");

const Json kAgentStatus = Json::parse(R"({"member": 7, "incarnation": 4, "device": "statecast0", "uptime_ms": 5000,
  "sessions": {"half_open": 1, "established": 5}, "revocations": 1,
  "proxies": [{"id": 1, "address": "10.1.0.1:6081", "heard": true, "heard_ms": 120}],
  "groups": [{"id": 10, "name": "web", "addresses": ["203.0.113.10/32"]}], "counters": {}})");

TEST_F(Ctl, HelpAndUsage) {
  auto r = run("--help");
  EXPECT_EQ(r.code, 0);
  for (const char* command :
       {"keys", "check-config", "status", "stages", "sessions", "revoke", "unrevoke", "directory", "trace"}) {
    EXPECT_NE(r.out.find(std::string("\n  ") + command + " "), std::string::npos) << command;
    auto help = run(std::string(command) + " --help");
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_NE(help.out.find(std::string("statecast ") + command), std::string::npos) << command << " has no example";
  }
  for (const char* wrong :
       {"", "fly", "status --colour", "keys", "keys fleet", "keys member --fleet f --member 0 --out o", "revoke",
        "directory put web tcp 1.2.3.4:5 1.2.3.4:6", "check-config"}) {
    EXPECT_EQ(run(wrong).code, 2) << wrong;
    EXPECT_NE(run(wrong).err, "") << wrong;
  }
  EXPECT_EQ(run("revoke 10 " + kSession + " --for 10 --socket /nowhere").code, 2);
  EXPECT_EQ(run("sessions refresh 10 " + kSession + " --bytes 1MB --socket /nowhere").code, 2);
}

TEST_F(Ctl, Keys) {
  std::string fleet = folder_ + "/fleet", key = folder_ + "/m7";
  auto r = run("keys fleet --out " + fleet);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, "wrote " + fleet + ": copy it to every proxy (fleet_secret), and keep it from everybody else\n");
  EXPECT_EQ(contents(fleet).substr(0, 23), "statecast-fleet-secret ");
  r = run("keys member --fleet " + fleet + " --member 7 --out " + key + " --json");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, "{\"file\":\"" + key + "\",\"member\":7}\n");
  std::string first = contents(key), secret = contents(fleet);
  r = run("keys member --fleet " + fleet + " --member 7 --out " + key);
  EXPECT_EQ(r.code, 1) << "never overwritten";
  EXPECT_EQ(contents(key), first);
  EXPECT_EQ(run("keys fleet --out " + fleet).code, 1);
  EXPECT_EQ(contents(fleet), secret);
  r = run("keys member --fleet " + folder_ + "/none --member 7 --out " + folder_ + "/k --json");
  EXPECT_EQ(r.code, 1);
  EXPECT_TRUE(Json::parse(r.out).contains("error")) << r.out;
}

TEST_F(Ctl, CheckConfig) {
  std::string samples = std::string(std::getenv("STATECAST_SOURCE")) + "/config/samples/";
  auto r = run("check-config " + samples + "proxy.yaml");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, samples + "proxy.yaml: good: proxy 1, 3 proxies in all, 3 members, 2 groups\n");
  r = run("check-config --json " + samples + "agent.yaml");
  EXPECT_EQ(r.out, "{\"file\":\"" + samples + "agent.yaml\",\"kind\":\"agent\",\"ok\":true}\n");

  std::string file = folder_ + "/bad.yaml", text = contents(samples + "agent.yaml");
  text.replace(text.find("udp_idle: 60s"), 13, "udp_idle: 60");
  std::ofstream(file) << text;
  r = run("check-config " + file);
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.out, "");
  EXPECT_EQ(r.err,
            file + ":34:15: groups[1].udp_idle: expected a duration between 1s and 24h such as \"60s\", got \"60\"\n");
  r = run("check-config --json " + file);
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(Json::parse(r.out)["ok"], false);
  EXPECT_EQ(Json::parse(r.out)["errors"].size(), 1u);
  EXPECT_EQ(run("check-config --kind proxy " + samples + "agent.yaml").code, 1);

  std::ofstream(folder_ + "/unclear.yaml") << "id: 1\n";
  r = run("check-config " + folder_ + "/unclear.yaml");
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("say --kind proxy or --kind agent"), std::string::npos) << r.err;

  r = run("check-config --effective " + samples + "agent.yaml");
  std::ofstream(folder_ + "/effective.yaml") << r.out;
  EXPECT_EQ(run("check-config --effective " + folder_ + "/effective.yaml").out, r.out);
}

TEST_F(Ctl, NobodyThere) {
  auto r = run("status --socket " + folder_ + "/agent-3.sock");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "no statecast-agent answers at " + folder_ +
                       "/agent-3.sock: is it running? (its control_socket says where it listens)\n");
  r = run("status --json --socket agent-999999");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(Json::parse(r.out)["code"], "unavailable");
  EXPECT_NE(r.out.find("/run/statecast/agent-999999.sock"), std::string::npos)
      << "a name is a socket under /run/statecast";
}

TEST_F(Ctl, ProxyStatus) {
  answer({{"status", {kProxyStatus}}});
  auto r = ask("status");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out,
            "statecast-proxy 1   up 3 min 20 s   in sync   DEGRADED\n"
            "view 3 (89abcdef), R = 3, W = 2\n"
            "\n"
            "peer  heard  permit  in sync  rtt      changes pending\n"
            "p2    yes    yes     yes      0.12 ms                0\n"
            "p3    no     no      no       -                     12\n"
            "\n"
            "member  reachable  address        heard\n"
            "m7      yes        10.0.0.7:6081  120 ms ago\n"
            "\n"
            "group  id  members  reachable\n"
            "web    10        2          1\n"
            "\n"
            "directory  1,234 records, 1 tombstones, 0 placed, 5 holders, 2 questions out\n"
            "cache      12 of 1,000,000 entries, 3 negative, 0 evicted\n"
            "\n"
            "dropped\n"
            "resolve.drop.revoked.packets  41\n");
  EXPECT_NE(ask("status --counters").out.find("rx.all.packets                1,000"), std::string::npos);
  EXPECT_EQ(Json::parse(ask("status --json").out), kProxyStatus);
  ::setenv("STATECAST_SOCKET", socket().c_str(), 1);
  EXPECT_EQ(run("status").out, r.out) << "by the environment";
}

TEST_F(Ctl, Stages) {
  const Json before = Json::parse(R"({"cycles_per_second": 2000000000,
      "workers": [{"packets": 100,
      "steps": [{"step": "parse", "cycles": 1000}, {"step": "finish", "cycles": 5000}]}]})");
  const Json after = Json::parse(R"({"cycles_per_second": 2000000000,
      "workers": [{"packets": 1100,
      "steps": [{"step": "parse", "cycles": 9000}, {"step": "finish", "cycles": 55000}]}]})");
  answer({{"status", {kProxyStatus}}, {"stages", {before, after}}});
  auto r = ask("stages --for 10ms");
  EXPECT_EQ(r.out,
            "ns per packet  worker 0\n"
            "parse          4.0\n"
            "finish         25.0\n"
            "all            29.0\n"
            "packets        1,000\n");
  EXPECT_EQ(ask("stages --for never").code, 2);
}

TEST_F(Ctl, AgentStatusAndSessions) {
  Json session = Json::parse(R"({"id": "10 tcp 198.51.100.7:40000 203.0.113.10:443", "state": "established", "proxy": 2,
    "idle_ms": 3, "packets": 1200, "bytes": 3400000, "acknowledged": true, "owned": true,
    "version": {"term": 1, "incarnation": 4, "counter": 17}, "replicas": [1, 3]})");
  answer({{"status", {kAgentStatus}},
          {"sessions.list", {{{"total", 3}, {"sessions", {session}}}}},
          {"sessions.get", {session}},
          {"sessions.refresh", {{{"id", session["id"]}, {"bytes", 1048576}}}}});
  EXPECT_EQ(ask("status").out,
            "statecast-agent 7   up 5.0 s   incarnation 4   device statecast0\n"
            "\n"
            "proxy  heard  address        last\n"
            "p1     yes    10.1.0.1:6081  120 ms ago\n"
            "\n"
            "group  id  addresses\n"
            "web    10  203.0.113.10/32\n"
            "\n"
            "sessions  5 established, 1 half_open\n"
            "revoked   1\n");
  EXPECT_EQ(
      ask("sessions list").out,
      "session                                      state        proxy  idle     packets      bytes  version  "
      "replicas\n"
      "web tcp 198.51.100.7:40000 203.0.113.10:443  established  p2     3.00 ms    1,200  3,400,000  1.4.17   p1, p3\n"
      "\n"
      "3 sessions, 1 shown: --limit N shows more\n");
  EXPECT_EQ(ask("sessions get web " + kSession).out, "web " + kSession +
                                                         "\n"
                                                         "  state       established, acknowledged\n"
                                                         "  last proxy  p2, 3.00 ms ago\n"
                                                         "  passed      1,200 packets, 3.2 MiB\n"
                                                         "  version     1.4.17\n"
                                                         "  replicas    p1, p3\n");
  EXPECT_EQ(ask("sessions refresh web " + kSession + " --bytes 1MiB").out,
            "web " + kSession + ": bucket set to 1.0 MiB\n");
  EXPECT_EQ(ask("sessions refresh 10 " + kSession + " --bytes unlimited").code, 0);
  auto wrong = ask("directory view");
  EXPECT_EQ(wrong.code, 1);
  EXPECT_EQ(
      wrong.err,
      "the directory is on the proxies: ask one, not the statecast-agent 7 (--socket proxy-ID on that machine)\n");
  auto requests = asked();
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(requests[0], Json::parse(R"({"command": "sessions.list", "limit": 1000})"));
  EXPECT_EQ(requests[1], (Json{{"command", "sessions.get"}, {"id", "10 " + kSession}}));
  EXPECT_EQ(requests[2], (Json{{"command", "sessions.refresh"}, {"id", "10 " + kSession}, {"bytes", 1048576}}));
  EXPECT_EQ(requests[3]["bytes"], "unlimited");
}

TEST_F(Ctl, RevokePrintsEventsAsTheyCome) {
  answer({{"status", {kProxyStatus}},
          {"revoke", {{{"event", "stored"}, {"ms", 1.2}, {"copies", 2}}, {{"event", "silent"}, {"ms", 13.4}}}},
          {"unrevoke", {{{"event", "done"}, {"ms", 2.0}}}}});
  auto r = ask("revoke web " + kSession + " --for 1h");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out,
            "stored     1.20 ms   enough replicas have it: no new lease anywhere (2 copies)\n"
            "silent       13 ms   no proxy passes a packet of it any more\n");
  EXPECT_EQ(ask("revoke 'web " + kSession + "' --wait stored --json").out,
            "{\"copies\":2,\"event\":\"stored\",\"ms\":1.2}\n");
  EXPECT_EQ(ask("unrevoke 10 " + kSession).out, "done       2.00 ms\n");
  auto requests = asked();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0], (Json{{"command", "revoke"}, {"id", "10 " + kSession}, {"duration_ms", 3600000}}));
  EXPECT_EQ(requests[1]["duration_ms"], 600000) << "ten minutes by default";
  EXPECT_EQ(requests[2], (Json{{"command", "unrevoke"}, {"id", "10 " + kSession}}));
}

TEST_F(Ctl, Directory) {
  Json record = Json::parse(R"({"key": "00ff", "found": true, "held": true, "state": "established", "target": "member",
    "member": 7, "owner": "m7", "version": {"term": 1, "incarnation": 3, "counter": 9}, "remaining_ms": 59000,
    "bucket_bytes": null, "holders": [{"proxy": 1, "left_ms": 8200}, {"proxy": 3, "left_ms": 120}]})");
  answer({{"status", {kProxyStatus}},
          {"directory.view", {Json::parse(R"({"revision": 3, "hash": "89abcdef", "replicas": 3, "writes": 2,
             "nodes": [{"id": 1, "zone": "a"}, {"id": 2, "zone": ""}], "slots": 65536, "slots_out_of_sync": 12,
             "peers": [{"id": 2, "heard": true, "permit": true, "out_of_sync": false, "rtt_us": 700,
                        "changes_pending": 4}],
             "membership": {"source": "etcd", "endpoint": "http://a:1", "reachable": false, "trouble": "no route",
                            "waits": null, "proxies": [{"id": 1, "revision": 3, "in_sync": true, "leaving": false,
                            "in_view": true}, {"id": 9, "revision": 3, "in_sync": true, "leaving": true,
                            "in_view": false}]}})")}},
          {"directory.verify", {Json::parse(R"({"revision": 3, "pairs": 3, "pairs_compared": 1, "slots_compared": 65536,
             "not_compared": {"2": "does not answer"}, "more": true, "differences": [{"slot": 255, "key": "00ff",
             "proxies": [1, 3], "held": [{"state": "established", "owner": "m7",
             "version": {"term": 1, "incarnation": 3, "counter": 9}}, null]}]})")}},
          {"directory.placement", {Json::parse(R"({"key": "00ff", "slot": 255, "replicas": [1, 3, 2]})")}},
          {"directory.get", {record}},
          {"directory.put", {{{"event", "done"}, {"ms", 1.5}, {"copies", 1}, {"degraded", true}}}},
          {"directory.remove", {admin_error({Code::not_found, "the directory has no such mapping"})}}});
  EXPECT_EQ(
      ask("directory view").out,
      "view 3 (89abcdef), R = 3, W = 2; statecast-proxy 1 is a replica of 65536 slots, 12 of them being handed over\n"
      "\n"
      "proxy  zone  permit  changes  rtt      registered\n"
      "p1     a     itself  -        -        in sync\n"
      "p2     -     yes     4        0.70 ms  no\n"
      "\n"
      "membership: etcd at http://a:1, not reachable: the view stays as it is\n"
      "p9 is registered, but not in the view: it has left\n"
      "trouble: no route\n");
  EXPECT_EQ(ask("directory placement web " + kSession).out,
            "web " + kSession + "\n  replicas  p1, p3, p2\n  slot      255\n  key       00ff\n");
  EXPECT_EQ(ask("directory get web " + kSession).out, "web " + kSession +
                                                          "\n"
                                                          "  state    established, held\n"
                                                          "  target   member m7\n"
                                                          "  owner    m7\n"
                                                          "  version  1.3.9\n"
                                                          "  ends in  59.0 s\n"
                                                          "  bucket   unlimited\n"
                                                          "  holders  p1 for 8.2 s, p3 for 120 ms\n"
                                                          "  key      00ff\n");
  auto verified = ask("directory verify");
  EXPECT_EQ(verified.code, 1) << "something differs";
  EXPECT_EQ(verified.out,
            "comparing what the replicas hold, two by two; what differs is looked at again after 6 s\n"
            "view 3: 1 of 3 pairs of proxies compared, 65536 slots; 1 difference, and more\n"
            "p2 does not answer: not compared\n"
            "\n"
            "slot  key   proxy  state        owner  version\n"
            "255   00ff  p1     established  m7     1.3.9\n"
            "            p3     nothing      -      -\n");
  EXPECT_EQ(ask("directory put web " + kSession + " --member 7").out,
            "web " + kSession + ": mapped to m7 in 1.50 ms, 1 copy, DEGRADED: too few replicas are reachable\n");
  auto r = ask("directory remove web " + kSession);
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "the directory has no such mapping\n");
  r = ask("directory remove --json web " + kSession);
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.out, "{\"code\":\"not_found\",\"error\":\"the directory has no such mapping\"}\n");
  r = ask("sessions list");
  EXPECT_EQ(
      r.err,
      "proxies do not list sessions: ask the agent of the member that owns it, not the statecast-proxy 1 (--socket "
      "agent-ID on that machine)\n");
  auto requests = asked();
  ASSERT_EQ(requests.size(), 7u);
  EXPECT_EQ(requests[4],
            (Json{{"command", "directory.put"}, {"id", "10 " + kSession}, {"member", 7}, {"lifetime_ms", 60000}}));
}

TEST_F(Ctl, SessionsThatAreNone) {
  answer({{"status", {kProxyStatus}}, {"sessions.get", {{{"cached", false}}}}});
  auto r = ask("sessions get webb " + kSession);
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "no group \"webb\" at the statecast-proxy 1; it has: web\n");
  for (const char* wrong : {"web", "10 tcp", "10 icmp 1.2.3.4:5 1.2.3.4:6", "10 tcp 1.2.3.4 1.2.3.4:6",
                            "0 tcp 1.2.3.4:5 1.2.3.4:6", "web tcp 1.2.3.4:5 [2001:db8::1]:6"}) {
    r = ask(std::string("sessions get '") + wrong + "'");
    EXPECT_EQ(r.code, 1) << wrong;
    EXPECT_EQ(r.err, "\"" + std::string(wrong) +
                         "\" names no session: expected GROUP PROTOCOL CLIENT:PORT SERVER:PORT such as web tcp "
                         "198.51.100.7:40000 203.0.113.10:443\n");
  }
  EXPECT_EQ(ask("sessions get web " + kSession).out,
            "web " + kSession + "\n  not in the cache of the statecast-proxy 1: its next packet asks the directory\n");
}

}  // namespace
}  // namespace statecast
