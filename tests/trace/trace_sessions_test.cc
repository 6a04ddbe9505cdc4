// SPDX-License-Identifier: BSD-3-Clause
// The sessions file: what each way of writing an entry means, and what is said of a wrong one.
#include "tools/ctl/trace_sessions.h"

#include <gtest/gtest.h>

namespace statecast {
namespace {

ProxyConfig config() {
  ProxyConfig c;
  c.members = {MemberId{1}, MemberId{2}};
  GroupConfig web, inner;
  web.id = GroupId{10};
  web.name = "web";
  web.addresses = {*Prefix::parse("203.0.113.0/24"), *Prefix::parse("2001:db8:1::10/128")};
  web.lease.time = 7s;
  inner.id = GroupId{20};
  inner.name = "inner";
  inner.addresses = {*Prefix::parse("203.0.113.20/32")};
  c.groups = {web, inner};
  return c;
}

struct Row {
  const char* text;
  CacheTarget target;
  uint32_t member;
  uint64_t bytes;
  Duration lifetime;
  const char* id;  // as to_string(SessionId) has it
};

const Row kRows[] = {
    {R"([{"session": "tcp 198.51.100.7:40000 203.0.113.10:443", "member": "m1"}])", CacheTarget::member, 1, UINT64_MAX,
     7s, "10 tcp 198.51.100.7:40000 203.0.113.10:443"},
    {R"([{"session": "web tcp 198.51.100.7:40000 203.0.113.20:443", "member": "2", "bytes": null}])",
     CacheTarget::member, 2, UINT64_MAX, 10s, "20 tcp 198.51.100.7:40000 203.0.113.20:443"},
    {R"({"sessions": [{"session": {"client": "2001:db8::7", "client_port": 1, "server": "2001:db8:1::10",
        "server_port": 2, "protocol": "udp"}, "member": 2, "bytes": 9000, "lifetime": "250ms"}]})",
     CacheTarget::member, 2, 9000, 250ms, "10 udp [2001:db8::7]:1 [2001:db8:1::10]:2"},
    {R"({"session": {"client": "198.51.100.7", "client_port": 1, "server": "203.0.113.10", "server_port": 2},
        "protocol": "udp", "group": "web", "member": "DROP", "lifetime_ms": 5})",
     CacheTarget::drop, 0, UINT64_MAX, 5ms, "10 udp 198.51.100.7:1 203.0.113.10:2"},
    {R"({"session": "tcp 198.51.100.7:1 203.0.113.10:2", "member": "STATELESS", "bytes": "64KiB", "expires_in_ms": 8123})",
     CacheTarget::stateless, 0, 65536, 8123ms, "10 tcp 198.51.100.7:1 203.0.113.10:2"},
};

TEST(TraceSessions, Rows) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.text);
    auto got = parse_trace_sessions(row.text, "s.json", config());
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(got->size(), 1u);
    const PreloadedSession& s = got->front();
    EXPECT_EQ(s.entry.target, row.target);
    EXPECT_EQ(s.entry.member.value, row.member);
    EXPECT_EQ(s.entry.bytes, row.bytes);
    EXPECT_EQ(s.lifetime, row.lifetime);
    EXPECT_EQ(to_string(s.id), row.id);
  }
}

TEST(TraceSessions, OnePerLine) {
  auto got = parse_trace_sessions(
      "{\"session\": \"tcp 198.51.100.7:1 203.0.113.10:2\", \"member\": \"m1\"}\n\n"
      "{\"session\": \"tcp 198.51.100.7:2 203.0.113.10:2\", \"member\": \"m2\"}\n",
      "s.json", config());
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->size(), 2u);
}

TEST(TraceSessions, WrongOnes) {
  const struct {
    const char* text;
    const char* says;
  } rows[] = {
      {"{", "s.json: neither"},
      {"[1]", "s.json: [0]: expected an object"},
      {R"([{"member": "m1"}])", "s.json: [0].session: expected"},
      {R"([{"session": "tcp 198.51.100.7:1 203.0.113.10", "member": "m1"}])", "[0].session"},
      {R"([{"session": "sctp 198.51.100.7:1 203.0.113.10:2", "member": "m1"}])", "[0].session"},
      {R"([{"session": "tcp 198.51.100.7:1 [2001:db8:1::10]:2", "member": "m1"}])", "one address family"},
      {R"([{"session": "tcp 198.51.100.7:1 192.0.2.1:2", "member": "m1"}])", "a server address of a group"},
      {R"([{"session": "tcp 198.51.100.7:1 203.0.113.10:2", "group": "inner", "member": "m1"}])",
       "[0].group: expected \"web\""},
      {R"([{"session": "tcp 198.51.100.7:1 203.0.113.10:2"}])", "[0].member"},
      {R"([{"session": "tcp 198.51.100.7:1 203.0.113.10:2", "member": "m3"}])", "[0].member"},
      {R"([{"session": "tcp 198.51.100.7:1 203.0.113.10:2", "member": "m1", "bytes": -1}])", "[0].bytes"},
      {R"([{"session": "tcp 198.51.100.7:1 203.0.113.10:2", "member": "m1", "lifetime": "soon"}])", "[0].lifetime"},
      {R"([{"session": "tcp 198.51.100.7:1 203.0.113.10:2", "member": "m1", "lifetime_ms": 1e30}])", "[0].lifetime"},
  };
  for (const auto& row : rows) {
    auto got = parse_trace_sessions(row.text, "s.json", config());
    ASSERT_FALSE(got) << row.text;
    EXPECT_NE(got.error().message.find(row.says), std::string::npos) << got.error().message;
  }
}

}  // namespace
}  // namespace statecast
