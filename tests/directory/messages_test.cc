// SPDX-License-Identifier: BSD-3-Clause
// The codec against itself (random messages there and back, every truncation and every changed byte), against its
// bounds, and against the vectors. STATECAST_SEED chooses another seed; STATECAST_WRITE_VECTORS=1 writes the vectors.
#include "directory/messages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "tests/directory/message_samples.h"

namespace statecast {
namespace {

using nlohmann::json;
using namespace statecast::test;

uint64_t seed() {
  const char* text = std::getenv("STATECAST_SEED");
  return text ? std::strtoull(text, nullptr, 0) : 20240611;
}

const std::string kVectors = std::string(VECTORS_DIR) + "/messages.json";

TEST(Messages, RandomOnesComeBackAsTheyWere) {
  Rng rng(seed());
  for (size_t index = 0; index < kBodies; ++index) {
    for (int i = 0; i < 300; ++i) {
      std::vector<uint8_t> packet;
      MessageHeader header = random_header(rng);
      MessageBody body = random_body(rng, index, packet);
      std::vector<uint8_t> bytes = encode(header, body);
      ASSERT_FALSE(bytes.empty()) << to_json(header, body) << " seed " << seed();
      auto back = decode(bytes);
      ASSERT_TRUE(back) << to_json(header, body) << " seed " << seed();
      ASSERT_EQ(to_json(back->header, back->body), to_json(header, body)) << "seed " << seed();
      ASSERT_EQ(encode(back->header, back->body), bytes) << "seed " << seed();
      if (packet.empty()) { ASSERT_LE(bytes.size(), kMessageSizeMax) << to_json(header, body); }
    }
  }
}

TEST(Messages, EachTruncationAndEachSurplusByteIsRefused) {
  Rng rng(seed());
  for (size_t index = 0; index < kBodies; ++index) {
    std::vector<uint8_t> packet;
    std::vector<uint8_t> bytes = encode(random_header(rng), random_body(rng, index, packet));
    for (size_t n = 0; n < bytes.size(); ++n) {
      std::vector<uint8_t> shorter(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      EXPECT_FALSE(decode(shorter)) << message_name(random_body(rng, index, packet)) << " at " << n;
      if (n < 4) continue;  // the same with a length that says so
      Writer(MutableBytes(shorter).subspan(2)).u16(n);
      EXPECT_FALSE(decode(shorter)) << message_name(random_body(rng, index, packet)) << " at " << n;
    }
    bytes.push_back(0);
    EXPECT_FALSE(decode(bytes));
    Writer(MutableBytes(bytes).subspan(2)).u16(bytes.size());
    EXPECT_FALSE(decode(bytes));
  }
}

// What is accepted is the one encoding of what it says.
TEST(Messages, AChangedByteIsRefusedOrSaysSomethingElse) {
  Rng rng(seed());
  for (size_t index = 0; index < kBodies; ++index) {
    std::vector<uint8_t> packet;
    const std::vector<uint8_t> bytes = encode(random_header(rng), random_body(rng, index, packet));
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (uint8_t flip : {0x01, 0x02, 0x10, 0x80, 0xff}) {
        auto changed = bytes;
        changed[at] ^= flip;
        if (auto m = decode(changed)) { ASSERT_EQ(encode(m->header, m->body), changed) << "byte " << at; }
      }
    }
  }
}

TEST(Messages, RandomBytesNeverPassForAMessage) {
  Rng rng(seed());
  for (int i = 0; i < 100'000; ++i) {
    std::vector<uint8_t> bytes(rng.below(200));
    rng.fill(bytes);
    if (bytes.size() > 4 && rng.chance(0.8)) {  // let it get past the header
      bytes[0] = static_cast<uint8_t>(kMessageTypeFirst + rng.below(kBodies + 3));
      bytes[1] = 0;
      Writer(MutableBytes(bytes).subspan(2)).u16(bytes.size());
    }
    if (auto m = decode(bytes)) { ASSERT_EQ(encode(m->header, m->body), bytes); }
  }
}

// What the codec refuses to write, as a bug of the caller's.
TEST(Messages, WhatIsOutOfBoundsIsNotWritten) {
  const MessageHeader header{.request = 1, .origin = NodeId::proxy({1})};
  const SessionId id = SessionId::tuple({10}, Protocol::tcp, {IpAddress::v4(from_hex("c6336407")), {40000}},
                                        {IpAddress::v4(from_hex("cb00710a")), {443}});
  const Record record{.group = {10}, .member = {1}, .owner = NodeId::member({1})};
  const std::vector<uint8_t> large(kMessagePacketMax + 1);
  auto many_slots = [] {
    std::vector<SlotRange> out;
    for (uint16_t i = 0; i <= kSlotRangesMax; ++i) out.push_back({i, i});
    return out;
  };
  struct Row {
    const char* name;
    MessageHeader header;
    MessageBody body;
  };
  auto changed = [&](auto change) {
    Record r = record;
    change(r);
    return r;
  };
  MessageHeader nobody = header, hops = header, odd = header;
  nobody.origin = {};
  hops.hops = 2;
  odd.origin = {0x04000001};
  const Row rows[] = {
      {"origin nobody", nobody, Ack{}},
      {"origin of an unknown kind", odd, Ack{}},
      {"two hops", hops, Ack{}},
      {"group 0", header, Query{}},
      {"group beyond 24 bits", header, Query{{}, {kId24Max + 1}}},
      {"a packet where none travels", header, Query{{}, {1}, QueryForm::query, Bytes(large).first(20)}},
      {"no packet where one travels", header, Query{{}, {1}, QueryForm::query_and_return, {}}},
      {"query with a packet too large", header,
       Query{{}, {1}, QueryForm::query_and_forward, Bytes(large).first(kQueryPacketMax + 1)}},
      {"answer with a packet too large", header,
       QueryAnswer{.status = QueryAnswer::Status::none, .packet = Bytes(large).first(kQueryPacketMax + 1)}},
      {"unknown form", header, Query{{}, {1}, QueryForm(4), Bytes(large).first(20)}},
      {"live without member", header, QueryAnswer{.status = QueryAnswer::Status::live}},
      {"unknown status", header, QueryAnswer{.status = QueryAnswer::Status(7)}},
      {"insert of a tombstone", header, Insert{.id = id, .state = RecordState::revoked, .member = {1}}},
      {"insert without member", header, Insert{.id = id}},
      {"insert without ID", header, Insert{.member = {1}}},
      {"insert that returns nothing", header, Insert{.id = id, .member = {1}, .returns = true}},
      {"insert with a packet too large", header, Insert{.id = id, .member = {1}, .packet = large}},
      {"counter beyond 40 bits", header, Remove{id, {.counter = 1ull << 40}}},
      {"incarnation beyond 24 bits", header, Remove{id, {.incarnation = 1u << 24}}},
      {"too many replicas", header, InsertAnswer{.replicas = std::vector<ProxyId>(kReplicasMax + 1, ProxyId{1})}},
      {"replica 0", header, InsertAnswer{.replicas = {ProxyId{}}}},
      {"revoke by key without group", header, Revoke{.name = 1}},
      {"revoke without name", header, Revoke{.id = id}},
      {"too many refreshes", header, Refresh{.entries = std::vector<Refresh::Entry>(kRefreshEntriesMax + 1)}},
      {"too many unknown", header, RefreshAnswer{.unknown = std::vector<uint32_t>(kRefreshEntriesMax + 1)}},
      {"record without owner", header, Place{changed([](Record& r) { r.owner = {}; })}},
      {"record without group", header, Place{changed([](Record& r) { r.group = {}; })}},
      {"live record without member", header, Place{changed([](Record& r) { r.member = {}; })}},
      {"record of an unknown state", header, Place{changed([](Record& r) { r.state = RecordState(6); })}},
      {"change 0", header, Change{.record = record}},
      {"too many members", header,
       Heartbeat{.members_heard = std::vector<MemberId>(kHeartbeatMembersMax + 1, MemberId{1})}},
      {"too many records", header,
       SyncChunk{.cursor = kSyncRecordsCursor, .records = std::vector<Record>(kSyncRecordsMax + 1, record)}},
      {"too many records, held and placed", header,
       SyncChunk{.cursor = kSyncRecordsCursor,
                 .records = std::vector<Record>(kSyncRecordsMax, record),
                 .placed = {{record, false}}}},
      {"records before the first cursor", header, SyncChunk{.records = {record}}},
      {"out of sync later", header, SyncChunk{.cursor = kSyncRecordsCursor, .out_of_sync = {3}}},
      {"slots beyond the last", header, SyncChunk{.first_slot = 0xfff9, .out_of_sync = {1}}},
      {"too many slots", header, SyncChunk{.lacking = std::vector<uint8_t>(kSlotBytesMax + 1)}},
      {"tombstone placed", header,
       SyncChunk{.cursor = kSyncRecordsCursor,
                 .placed = {{changed([](Record& r) { r.state = RecordState::removed; }), false}}}},
      {"no digests", header, SlotDigests{}},
      {"digests of parts that are not equal", header, SlotDigests{0, 9, std::vector<uint64_t>(4)}},
      {"digests backwards", header, SlotDigests{9, 8, {1}}},
      {"audit backwards", header, Audit{.first = 9, .last = 8, .with = {1}}},
      {"audit with nobody", header, Audit{.first = 1, .last = 8}},
      {"audit of the records of two slots", header, Audit{.first = 1, .last = 2, .with = {1}, .listed = true}},
      {"audit answered twice over", header, AuditAnswer{.next = 1, .digests = {1}}},
      {"slots backwards", header, Permit{.out_of_sync = {{2, 1}}}},
      {"covers backwards", header, Permit{.covers = {2, 1}}},
      {"slots twice", header, SyncRequest{.slots = {{1, 5}, {5, 9}}}},
      {"too many slots", header, SyncRequest{.slots = many_slots()}},
      {"entry without member", header, Entry{.group = {1}}},
      {"entry with a packet too large", header, Entry{.group = {1}, .member = {1}, .packet = large}},
      {"echo beyond 48 bits", header, Entry{.group = {1}, .member = {1}, .echo = {1, 1ull << 48}}},
  };
  for (const Row& r : rows) EXPECT_TRUE(encode(r.header, r.body).empty()) << r.name;
}

// The table of docs/wire-format.md.
TEST(Messages, SizesAreThoseOfTheDocument) {
  const MessageHeader header{.request = 1, .origin = NodeId::proxy({1})};
  const SessionId id = SessionId::tuple({10}, Protocol::tcp, {IpAddress::v4(from_hex("c6336407")), {40000}},
                                        {IpAddress::v4(from_hex("cb00710a")), {443}});
  const Record record{.group = {10}, .member = {1}, .owner = NodeId::member({1})};
  const std::vector<uint8_t> packet(28);
  struct Row {
    MessageBody body;
    size_t size;
  };
  const Row rows[] = {
      {Query{{}, {1}}, 40},
      {Query{{}, {1}, QueryForm::query_and_forward, Bytes(packet)}, 42 + 28},
      {QueryAnswer{}, 70},
      {QueryAnswer{.packet = packet}, 70 + 28},
      {Insert{.id = id, .member = {1}}, 20 + 60},
      {InsertAnswer{}, 36},
      {InsertAnswer{.replicas = {{1}, {2}, {3}}, .record = record}, 36 + 9 + 59},
      {Remove{id, {}}, 20 + 17 + 10},
      {Revoke{.id = id, .name = 1}, 20 + 1 + 17 + 4 + 5},
      {Revoke{.group = {1}, .name = 1}, 20 + 1 + 19 + 4 + 5},
      {Unrevoke{.id = id}, 20 + 1 + 17 + 5},
      {RequestAnswer{}, 22},
      {Refresh{}, 24},
      {Refresh{.entries = std::vector<Refresh::Entry>(kRefreshEntriesMax)}, 24 + 60 * 17},
      {RefreshAnswer{}, 22},
      {Place{record}, 20 + 60},
      {PlaceAck{}, 20 + 32},
      {Held{.owner = NodeId::op()}, 20 + 32},
      {Withdraw{.owner = NodeId::op()}, 20 + 30},
      {Change{.number = 1, .record = record}, 20 + 76},
      {ChangeAck{}, 20 + 24},
      {HoldersSilent{}, 20 + 26},
      {Heartbeat{}, 20 + 26},
      {Permit{}, 20 + 25},
      {SyncRequest{}, 20 + 14},
      {SyncRequest{.slots = {{1, 2}, {4, 5}}}, 20 + 14 + 8},
      {SyncChunk{}, 20 + 29},
      {Purge{{}, {1}, {}, RecordState::revoked, 0}, 20 + 34},
      {Entry{.group = {1}, .member = {1}}, 20 + 57},
      {Notice{0, {}, RecordState::revoked, 0}, 20 + 19},
      {Ack{}, 20},
      {SlotDigests{0, 63, std::vector<uint64_t>(64)}, 20 + 5 + 64 * 8},
      {Audit{.with = {1}}, 20 + 12},
      {AuditAnswer{.digests = std::vector<uint64_t>(64)}, 20 + 7 + 64 * 8},
      {AuditAnswer{.entries = std::vector<AuditAnswer::Entry>(kAuditEntriesMax, {.owner = NodeId::op()})},
       20 + 7 + 32 * 31},
  };
  for (const Row& r : rows) EXPECT_EQ(encode(header, r.body).size(), r.size) << message_name(r.body);
}

// Nobody who forges a question's cause gets more out of it than he puts in: at most 128 bytes more, over IP.
TEST(Messages, QuestionsAndAnswersAreLittleLargerThanTheirCause) {
  const MessageHeader header{.request = 1, .origin = NodeId::proxy({1})};
  const size_t outside = 40 + 8 + kEnvelopeSizeMin;  // IPv6, UDP, envelope
  const size_t smallest_packet = 20 + 8;             // a client's empty UDP datagram
  const size_t query = encode(header, Query{{}, {1}}).size();
  const size_t answer = encode(header, QueryAnswer{}).size();
  EXPECT_LE(outside + query, smallest_packet + 128);
  EXPECT_LE(answer, query + 128);
  // Where packets travel along the underlay has IPv4.
  const std::vector<uint8_t> packet(kQueryPacketMax);
  const Query travels{{}, {1}, QueryForm::query_and_return, packet};
  EXPECT_LE(20 + 8 + kEnvelopeSizeMin + encode(header, travels).size(), packet.size() + 128);
  EXPECT_LE(encode(header, QueryAnswer{.packet = packet}).size(), encode(header, travels).size() + 128);
}

// --- vectors ---

json invalid_vectors() {
  const MessageHeader header{.request = 7, .origin = NodeId::proxy({2}), .view = {1, 0x01020304}};
  const std::vector<uint8_t> query = encode(header, Query{{1, 2}, {10}});
  json out = json::array();
  auto add = [&](const char* why, std::vector<uint8_t> bytes) {
    out.push_back({{"why", why}, {"bytes", to_hex(bytes)}});
  };
  auto with = [&](size_t at, uint8_t value) {
    auto b = query;
    b[at] = value;
    return b;
  };
  add("empty", {});
  add("shorter than a header", {query.begin(), query.begin() + 19});
  add("number below the first message", with(0, 0x1f));
  add("number of no message", with(0, static_cast<uint8_t>(kMessageTypeFirst + kBodies)));
  add("two hops", with(1, 2));
  add("length does not match", with(3, 41));
  add("origin of an unknown kind", with(8, 4));
  add("origin nobody", [&] {
    auto b = query;
    b[8] = b[11] = 0;
    return b;
  }());
  add("group 0", with(38, 0));
  add("a byte left over", [&] {
    auto b = query;
    b.push_back(0);
    b[3] = static_cast<uint8_t>(b.size());
    return b;
  }());
  auto answer = encode(header, QueryAnswer{.key = {1, 2}, .status = QueryAnswer::Status::live, .member = {7}});
  answer[36] = 9;
  add("unknown status", answer);
  auto permit = encode(header, Permit{});
  permit.back() = 2;
  add("a flag that is neither 0 nor 1", permit);
  auto refresh = encode(header, Refresh{.entries = {{1, 2, 3}}});
  refresh[23] = 200;
  add("more entries than bytes", refresh);
  return out;
}

json valid_vectors() {
  json out = json::array();
  Rng rng(3);
  for (size_t index = 0; index < kBodies; ++index) {
    for (int i = 0; i < 2; ++i) {
      std::vector<uint8_t> packet, bytes;
      MessageHeader header;
      MessageBody body;
      do {  // small ones are easier to read
        header = random_header(rng);
        body = random_body(rng, index, packet);
        bytes = encode(header, body);
      } while (bytes.size() >
               (std::holds_alternative<RefreshDigest>(body) ? kMessageSizeMax : 240));  // it has one size
      json v = to_json(header, body);
      v["bytes"] = to_hex(bytes);
      out.push_back(v);
    }
  }
  return out;
}

TEST(Messages, Vectors) {
  if (std::getenv("STATECAST_WRITE_VECTORS")) {
    std::ofstream(kVectors) << json{{"status", "draft"},
                                    {"format", "docs/wire-format.md, Messages"},
                                    {"valid", valid_vectors()},
                                    {"invalid", invalid_vectors()}}
                                   .dump(1)
                            << "\n";
  }
  std::ifstream in(kVectors);
  ASSERT_TRUE(in) << kVectors;
  json vectors = json::parse(in);
  std::set<std::string> seen;
  for (json v : vectors["valid"]) {
    std::vector<uint8_t> bytes = from_hex(v["bytes"]);
    v.erase("bytes");
    auto m = decode(bytes);
    ASSERT_TRUE(m) << v;
    EXPECT_EQ(to_json(m->header, m->body), v);
    EXPECT_EQ(encode(m->header, m->body), bytes) << v;
    seen.insert(v["message"]);
  }
  EXPECT_EQ(seen.size(), kBodies);
  for (const json& v : vectors["invalid"]) EXPECT_FALSE(decode(from_hex(v["bytes"]))) << v["why"];
}

}  // namespace
}  // namespace statecast
