// SPDX-License-Identifier: BSD-3-Clause
// Golden captures: what `statecast trace --json` says about small captures made with PacketBuilder, line by line, and
// what it would send. The expected lines are golden/NAME.jsonl; STATECAST_UPDATE_GOLDEN=1 writes them anew, to be read
// before they are committed. And every capture of the collection is survived with a line per packet.
#include "tools/ctl/trace.h"

#include <gtest/gtest.h>
#include <pcap/pcap.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dataplane/envelope/envelope.h"
#include "dataplane/packet/parse.h"
#include "tests/support/packet_builder.h"
#include "tools/ctl/pcap_io.h"

namespace statecast {
namespace {

namespace fs = std::filesystem;
using namespace test;
using Json = nlohmann::json;

constexpr const char* kClient = "198.51.100.7";
constexpr const char* kWeb = "203.0.113.10";
constexpr const char* kDns = "203.0.113.20";

fs::path source_root() {
  const char* root = std::getenv("STATECAST_SOURCE_ROOT");
  return root ? root : ".";
}
fs::path golden(const std::string& name) {
  return source_root() / "tests" / "trace" / "golden" / name;
}
fs::path scratch(const std::string& name) {
  return fs::temp_directory_path() / ("statecast-trace-" + std::to_string(getpid()) + "-" + name);
}
std::string read(const fs::path& p) {
  std::ifstream in(p, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct GoldenCapture {
  const char* name;
  std::vector<Packet> packets;  // one per millisecond
  const char* sessions = "[]";
  PcapLink link = PcapLink::ethernet;
};

PacketBuilder from_client(const char* to = kWeb) {
  return eth().ip4(kClient, to);
}

std::vector<GoldenCapture> make_captures() {
  std::vector<GoldenCapture> all;
  all.push_back(
      {"tcp_session",
       {
           from_client().tcp(40000, 443, kSyn).build(),
           from_client().tcp(40000, 443).payload(960).build(),  // 1,000 bytes of the lease
           eth().vlan(7).ip4(kClient, kWeb).tcp(40000, 443).payload(960).build(),
           from_client().tcp(40000, 443).payload(960).build(),  // does not fit any more
           from_client().tcp(40000, 443).build(),               // but this does
           from_client().tcp(40001, 443).build(),               // another session
           from_client().tcp(40000, 443, kFin | kAck).build(),
           from_client().tcp(40002, 443).payload(100).build(),  // revoked
           from_client().tcp(40003, 443).payload(100).build(),  // stateless
           from_client().tcp(40004, 443).build(),               // its lease has just ended
           from_client().tcp(40004, 443, kSyn).build(),
           from_client().tcp(40004, 443).build(),
       },
       R"([{"session": {"client": "198.51.100.7", "client_port": 40000, "server": "203.0.113.10", "server_port": 443},
            "protocol": "tcp", "member": "m2", "bytes": 2950, "lifetime": "10s"},
           {"session": "tcp 198.51.100.7:40002 203.0.113.10:443", "member": "DROP", "lifetime": "10min"},
           {"session": "tcp 198.51.100.7:40003 203.0.113.10:443", "member": "STATELESS", "bytes": "64KiB"},
           {"session": "tcp 198.51.100.7:40004 203.0.113.10:443", "member": 1, "lifetime_ms": 9}])"});
  all.push_back({"first_contact",
                 {
                     from_client().tcp(40000, 443, kSyn).build(),
                     from_client().tcp(40001, 443, kSyn).build(),
                     from_client().tcp(40000, 443).build(),
                     from_client().tcp(40000, 22, kSyn).build(),  // no rule
                     from_client().udp(40000, 443).payload(20).build(),
                     from_client(kDns).udp(40000, 53).payload(20).build(),  // stateless
                     from_client(kDns).udp(40001, 53).payload(20).build(),  // to the same member
                     eth().ip6("2001:db8::7", "2001:db8:1::10").tcp(40000, 443, kSyn).build(),
                     eth().ip6("2001:db8::7", "2001:db8:1::10").udp(40000, 443).payload(20).build(),
                     eth().ip4(kClient, "192.0.2.200").tcp(40000, 443, kSyn).build(),  // not ours
                     from_client().icmp(8).payload(32).build(),                        // echo request
                     from_client().tcp(40000, 443).payload(1400).dont_fragment().build(),
                 },
                 R"([{"session": "tcp 198.51.100.7:40000 203.0.113.10:443", "protocol": "tcp", "member": "m1"}])"});
  const Packet reply = ip4(kWeb, kClient).tcp(443, 40000).payload(100).build();
  all.push_back(
      {"fragments_and_errors",
       {
           from_client().tcp(40000, 443).payload(68).fragment(0, true, 77).build(),
           eth().ip4(kClient, kWeb).protocol(6).payload(64).fragment(88, false, 77).build(),
           eth().ip4(kClient, kWeb).protocol(6).payload(64).fragment(88, false, 78).build(),  // its first never came
           eth().ip4("192.0.2.99", kWeb).icmp_error(3, 4, reply, 1200).build(),               // of the session
           eth().ip4("192.0.2.99", kWeb).icmp(13).payload(12).build(),                        // other ICMP
       },
       R"([{"session": "tcp 198.51.100.7:40000 203.0.113.10:443", "member": "m1", "bytes": 100000}])"});
  all.push_back({"broken",
                 {
                     {},
                     from_client().tcp(40000, 443).cut_to(10).build(),
                     from_client().tcp(40000, 443).cut_to(30).build(),
                     from_client().tcp(40000, 443).cut(5).build(),
                     from_client().tcp(40000, 443).ip_checksum(0x1234).build(),
                     from_client().tcp(40000, 443).ip_header_words(4).build(),
                     from_client().tcp(40000, 443).ip_length(10).build(),
                     from_client().tcp(40000, 443).ip_version(5).build(),
                     from_client().tcp(40000, 443, kSyn | kFin).build(),
                     from_client().tcp(0, 443).build(),
                     from_client().tcp(40000, 443).tcp_header_words(15).build(),
                     from_client().udp(40000, 443).udp_length(4).build(),
                     eth().ip4(kWeb, kWeb).tcp(40000, 443, kSyn).build(),
                     eth().ip4(kClient, kWeb).protocol(47).payload(20).build(),
                     eth().ethertype(0x88cc).ip4(kClient, kWeb).tcp(40000, 443).build(),
                     from_client().tcp(40000, 443, kSyn).build(),  // and life goes on
                 }});
  all.push_back(
      {"raw_ip",
       {
           ip4(kClient, kWeb).tcp(40000, 443).payload(10).build(),
           ip6("2001:db8::7", "2001:db8:1::10").tcp(40000, 443).build(),
           {0x45},
           {0x00, 0x01, 0x02, 0x03},
       },
       R"({"session": "tcp 198.51.100.7:40000 203.0.113.10:443", "member": "m2", "bytes": 1000, "lifetime": "1s"})",
       PcapLink::raw_ip});
  return all;
}

struct TraceRun {
  bool ok;
  std::string error, lines, notes;
  std::vector<Packet> sent;
};

TraceRun trace(const fs::path& capture, const std::string& sessions = "[]", bool json = true) {
  const fs::path s = scratch("sessions.json"), out = scratch("out.pcap");
  std::ofstream(s) << sessions;
  std::ostringstream lines, notes;
  auto done = run_trace({.config = golden("proxy.yaml"), .capture = capture, .sessions = s, .out = out, .json = json},
                        lines, notes);
  TraceRun r{done.has_value(), done ? "" : done.error().message, lines.str(), notes.str(), {}};
  if (auto in = CaptureReader::open(out)) {
    for (CapturedPacket p; (*in)->next(p);) r.sent.emplace_back(p.bytes.begin(), p.bytes.end());
  }
  fs::remove(s);
  fs::remove(out);
  return r;
}

TraceRun trace(const GoldenCapture& c, bool json = true) {
  const fs::path pcap = scratch(std::string(c.name) + ".pcap");
  EXPECT_TRUE(write_pcap(pcap, c.packets, c.link));
  TraceRun r = trace(pcap, c.sessions, json);
  fs::remove(pcap);
  return r;
}

std::vector<Json> parse_lines(const std::string& text) {
  std::vector<Json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(Json::parse(line));
  return out;
}

TEST(Trace, Golden) {
  for (const GoldenCapture& c : make_captures()) {
    SCOPED_TRACE(c.name);
    const TraceRun r = trace(c);
    ASSERT_TRUE(r.ok) << r.error;
    const fs::path want = golden(std::string(c.name) + ".jsonl");
    if (std::getenv("STATECAST_UPDATE_GOLDEN")) std::ofstream(want) << r.lines;
    EXPECT_EQ(r.lines, read(want));
    EXPECT_EQ(std::count(r.lines.begin(), r.lines.end(), '\n'), std::ptrdiff_t(c.packets.size()));
  }
}

TEST(Trace, EveryLineHasEveryField) {
  for (const GoldenCapture& c : make_captures()) {
    size_t n = 0;
    for (const Json& line : parse_lines(trace(c).lines)) {
      SCOPED_TRACE(line.dump());
      EXPECT_EQ(line.size(), 10u);
      EXPECT_EQ(line.at("n"), n++);
      EXPECT_TRUE(line.at("group").is_null() || line.at("group").is_string());
      const std::string verdict = line.at("verdict");
      EXPECT_TRUE(verdict == "forward" || verdict == "query" || verdict == "kernel" || verdict == "drop");
      EXPECT_FALSE(line.at("reason").get<std::string>().empty());
      for (const char* key : {"class", "protocol", "session", "member", "bytes_left", "expires_in_ms"}) {
        EXPECT_TRUE(line.contains(key)) << key;
      }
    }
  }
}

// What leaves is an envelope to the member that the line names, with the packet in it as it came.
TEST(Trace, OutHoldsWhatWouldBeSent) {
  for (const GoldenCapture& c : make_captures()) {
    if (c.link != PcapLink::ethernet) continue;
    SCOPED_TRACE(c.name);
    const TraceRun r = trace(c);
    size_t at = 0, n = 0;
    for (const Json& line : parse_lines(r.lines)) {
      const Packet& packet = c.packets[n++];
      if (line.at("verdict") != "forward") continue;
      ASSERT_LT(at, r.sent.size());
      const Packet& sent = r.sent[at++];
      if (line.at("member").is_null()) continue;  // the proxy's own answer
      ParsedPacket outer, inner;
      ASSERT_EQ(parse_frame(sent, outer), ParseResult::ok);
      EXPECT_EQ(outer.destination_port, kEnvelopePort);
      EXPECT_EQ(to_string(destination_of(sent, outer)), "10.0.0." + line.at("member").get<std::string>().substr(1));
      ASSERT_EQ(parse_frame(packet, inner), ParseResult::ok);
      ASSERT_GE(sent.size(), inner.l3_length);
      EXPECT_TRUE(std::equal(sent.end() - inner.l3_length, sent.end(), packet.begin() + inner.l3_offset));
    }
    EXPECT_EQ(at, r.sent.size());
  }
}

TEST(Trace, TwoRunsSayAndSendTheSame) {
  const GoldenCapture c = make_captures()[0];
  const TraceRun a = trace(c), b = trace(c);
  EXPECT_EQ(a.lines, b.lines);
  EXPECT_EQ(a.sent, b.sent);
}

TEST(Trace, ReadableLines) {
  const TraceRun r = trace(make_captures()[0], false);
  ASSERT_TRUE(r.ok) << r.error;
  EXPECT_EQ(r.lines.substr(0, r.lines.find('\n')),
            "0  forward m2 (cache_hit)  web bootstrapping tcp 198.51.100.7:40000 -> 203.0.113.10:443, 2910 bytes left, "
            "ends in 10000 ms");
}

TEST(Trace, ItsOwnLinesAreASessionsFile) {
  const GoldenCapture c = make_captures()[0];
  std::istringstream first(trace(c).lines);
  std::string line;
  std::getline(first, line);
  GoldenCapture again = c;
  again.sessions = line.c_str();
  const auto lines = parse_lines(trace(again).lines);
  EXPECT_EQ(lines[0].at("bytes_left"), Json::parse(line).at("bytes_left").get<int>() - 40);
  EXPECT_EQ(lines[0].at("member"), "m2");
}

TEST(Trace, ErrorsSayWhatIsWrong) {
  const fs::path none = scratch("none.pcap"), text = scratch("text.pcap");
  std::ofstream(text) << "not a capture";
  EXPECT_NE(trace(none).error.find(none.string()), std::string::npos);
  EXPECT_NE(trace(text).error.find("not a capture"), std::string::npos);
  EXPECT_NE(trace(text, "{").error.find("sessions.json"), std::string::npos);
  fs::remove(text);
  std::ostringstream lines, notes;
  EXPECT_FALSE(run_trace({.config = "/nonexistent.yaml", .capture = "x"}, lines, notes));
}

TEST(Trace, ACaptureThatIsCutShortIsReadUpToThere) {
  const fs::path pcap = scratch("cut.pcap");
  ASSERT_TRUE(write_pcap(pcap, make_captures()[0].packets));
  fs::resize_file(pcap, fs::file_size(pcap) - 7);
  const TraceRun r = trace(pcap);
  EXPECT_TRUE(r.ok);
  EXPECT_EQ(parse_lines(r.lines).size(), make_captures()[0].packets.size() - 1);
  EXPECT_NE(r.notes.find("truncated"), std::string::npos) << r.notes;
  fs::remove(pcap);
}

TEST(Trace, EveryCaptureIsSurvived) {
  const char* set = std::getenv("STATECAST_CAPTURES");
  const fs::path folder = set ? fs::path(set) : source_root() / ".." / "shared" / "captures";
  if (!fs::is_directory(folder)) GTEST_SKIP() << "no captures at " << folder << " (set STATECAST_CAPTURES)";
  size_t files = 0, packets = 0;
  for (const auto& file : fs::directory_iterator(folder)) {
    char why[PCAP_ERRBUF_SIZE];
    pcap_t* in = pcap_open_offline(file.path().c_str(), why);
    if (!in) continue;  // not a capture: a README
    SCOPED_TRACE(file.path().filename());
    const int dlt = pcap_datalink(in);
    const bool ours = dlt == DLT_EN10MB || dlt == DLT_RAW || dlt == DLT_IPV4 || dlt == DLT_IPV6;
    size_t count = 0;
    pcap_pkthdr* header;
    const u_char* bytes;
    while (pcap_next_ex(in, &header, &bytes) == 1) ++count;
    pcap_close(in);
    const TraceRun r = trace(file.path());
    ASSERT_TRUE(r.ok) << r.error;
    const auto lines = parse_lines(r.lines);
    ASSERT_EQ(lines.size(), count);
    for (size_t n = 0; n < lines.size(); ++n) {
      ASSERT_EQ(lines[n].at("n"), n);
      ASSERT_EQ(lines[n].at("reason") == "unsupported_link_type", !ours);
    }
    ++files;
    packets += count;
  }
  RecordProperty("files", int(files));
  RecordProperty("packets", int(packets));
  EXPECT_GT(files, 0u);
}

}  // namespace
}  // namespace statecast
