// SPDX-License-Identifier: BSD-3-Clause
// The codec of messages. Each layout is written down once, as a `walk` over the message's fields; a Put walks it to
// write and a Take walks it to read, so that the two cannot drift apart. Layouts with byte counts: docs/wire-format.md.
#include "directory/messages.h"

#include <array>
#include <concepts>
#include <type_traits>
#include <utility>

#include "dataplane/session/session_filter.h"
#include "directory/message_fields.h"

namespace statecast {

namespace {

static_assert(kMessageHeaderSize + 4 + 8 + 8 + 1 + 6 + 1 + 1 + kSyncRecordsMax * (kRecordSize + 1) <= kMessageSizeMax);
static_assert(kMessageHeaderSize + 4 + 8 + 8 + 1 + 6 + 1 + 1 + 2 * kSlotBytesMax <= kMessageSizeMax);
static_assert(kMessageHeaderSize + 4 + 4 + 8 + 8 + 2 + kHeartbeatMembersMax * 3 <= kMessageSizeMax);
static_assert(kMessageHeaderSize + 3 + 1 + kRefreshEntriesMax * 17 <= kMessageSizeMax);
static_assert(kMessageHeaderSize + 48 + 2 + kQueryPacketMax <= kMessageSizeMax);  // an answer with its packet
static_assert(kMessageHeaderSize + 4 + 4 + 4 + 8 + 2 + kSummaryBlocksMax * SessionFilter::kBlockBytes <=
              kMessageSizeMax);
static_assert(kMessageHeaderSize + 4 + 8 + 8 + 1 + kSummarySessionsMax * 8 + 2 + kSlotRangesMax * 4 <= kMessageSizeMax);
// An answer is at most 128 bytes larger than what caused it; the smallest insert has 59 bytes after the header.
static_assert(1 + 1 + 10 + 1 + 3 * kReplicasMax + 1 + kRecordSize <= 59 + 128);

template <class T, class U>
concept Of = std::same_as<std::remove_const_t<T>, U>;

// --- common fields ---

bool valid_node(NodeId n) {
  if (n.is_op()) return n.number() == 0;
  return (n.is_proxy() || n.is_member()) && n.number() != 0;
}

void node(auto& io, Of<NodeId> auto& n) {
  io.u32(n.value);
  io.check(valid_node(n));
}
void key(auto& io, Of<SessionKey> auto& k) {
  io.u64(k.high);
  io.u64(k.low);
}
void group(auto& io, Of<GroupId> auto& g) {
  io.u24(g.value);
  io.check(g.value != 0);
}
void version(auto& io, Of<Version> auto& v) {
  io.u16(v.term);
  io.u24(v.incarnation);
  io.u40(v.counter);
}
void stamp(auto& io, Of<Stamp> auto& s) {
  io.u32(s.boot);
  io.u48(s.timestamp_us);
}
void state(auto& io, Of<RecordState> auto& s) {
  io.choice(s, RecordState::half_open, RecordState::revoked);
}
void target(auto& io, Of<Target> auto& t) {
  io.choice(t, Target::member, Target::stateless);
}
// 0 where there is none.
void proxy_or_none(auto& io, Of<ProxyId> auto& p) {
  io.u24(p.value);
}
void member_or_none(auto& io, Of<MemberId> auto& m) {
  io.u24(m.value);
}
void proxy(auto& io, Of<ProxyId> auto& p) {
  io.u24(p.value);
  io.check(p.value != 0);
}
void member(auto& io, Of<MemberId> auto& m) {
  io.u24(m.value);
  io.check(m.value != 0);
}

constexpr auto kProxy = [](auto& io, auto& p) { proxy(io, p); };
constexpr auto kMember = [](auto& io, auto& m) { member(io, m); };
constexpr auto kU8 = [](auto& io, auto& v) { io.u8(v); };
constexpr auto kU32 = [](auto& io, auto& v) { io.u32(v); };

// A live mapping to a member names it.
void destination(auto& io, RecordState s, Target t, MemberId m) {
  io.check(is_tombstone(s) || t != Target::member || m.value != 0);
}

void record(auto& io, Of<Record> auto& r) {
  key(io, r.key);
  group(io, r.group);
  state(io, r.state);
  target(io, r.target);
  member_or_none(io, r.member);
  node(io, r.owner);
  version(io, r.version);
  io.u32(r.handle);
  io.u32(r.remaining_ms);
  io.u64(r.bucket_bytes);
  io.u40(r.bucket_counter);
  destination(io, r.state, r.target, r.member);
}
constexpr auto kRecord = [](auto& io, auto& r) { record(io, r); };

// In order, and apart.
void slots(auto& io, auto& ranges) {
  io.list16(ranges, kSlotRangesMax, [](auto& in, auto& r) {
    in.u16(r.first);
    in.u16(r.last);
    in.check(r.first <= r.last);
  });
  for (size_t i = 1; i < ranges.size(); ++i) io.check(ranges[i - 1].last < ranges[i].first);
}

void who(auto& io, auto& m) {  // a session by ID, or (operator) by key and group
  io.optional(m.id, [](auto& in, auto& id) { in.session_id(id); });
  if (m.id) return;
  key(io, m.key);
  group(io, m.group);
}

// --- proxy to replica ---

void walk(auto& io, Of<Query> auto& m) {
  key(io, m.key);
  group(io, m.group);
  io.choice(m.form, QueryForm::query, QueryForm::query_and_return);
  if (m.form != QueryForm::query) io.packet(m.packet);
  io.check(m.packet.size() <= kQueryPacketMax && m.packet.empty() == (m.form == QueryForm::query));
}

void walk(auto& io, Of<QueryAnswer> auto& m) {
  using Status = QueryAnswer::Status;
  key(io, m.key);
  io.choice(m.status, Status::live, Status::unavailable);
  target(io, m.target);
  member_or_none(io, m.member);
  state(io, m.state);
  version(io, m.version);
  io.u32(m.lease_ms);
  io.u64(m.lease_bytes);
  io.u32(m.remaining_ms);
  io.packet(m.packet);
  io.check(m.packet.size() <= kQueryPacketMax);
  io.check(m.status != Status::live || (m.target != Target::member || m.member.value != 0));
}

// --- member or operator to any proxy ---

void walk(auto& io, Of<Insert> auto& m) {
  io.session_id(m.id);
  state(io, m.state);
  target(io, m.target);
  member_or_none(io, m.member);
  version(io, m.version);
  io.u32(m.handle);
  io.u32(m.lifetime_ms);
  io.u64(m.bucket_bytes);
  io.u40(m.bucket_counter);
  io.flag(m.born_new);
  proxy_or_none(io, m.ingress);
  io.flag(m.returns);
  io.packet(m.packet);
  io.check(!is_tombstone(m.state) && !(m.returns && m.packet.empty()));
  destination(io, m.state, m.target, m.member);
}

void walk(auto& io, Of<InsertAnswer> auto& m) {
  using Status = InsertAnswer::Status;
  io.choice(m.status, Status::ok, Status::try_again);
  io.u8(m.copies);
  version(io, m.version);
  io.list8(m.replicas, kReplicasMax, kProxy);
  io.packet(m.packet);
  io.optional(m.record, kRecord);
}

void walk(auto& io, Of<Remove> auto& m) {
  io.session_id(m.id);
  version(io, m.version);
}
void walk(auto& io, Of<Revoke> auto& m) {
  who(io, m);
  io.u32(m.duration_ms);
  io.u40(m.name);
  io.check(m.name != 0);
}
void walk(auto& io, Of<Unrevoke> auto& m) {
  who(io, m);
  io.u40(m.name);
}

void walk(auto& io, Of<RequestAnswer> auto& m) {
  using Status = RequestAnswer::Status;
  io.choice(m.status, Status::ok, Status::try_again);
  io.u8(m.copies);
}

void walk(auto& io, Of<Refresh> auto& m) {
  io.u24(m.incarnation);
  io.list8(m.entries, kRefreshEntriesMax, [](auto& in, auto& e) {
    in.u32(e.handle);
    in.u40(e.counter);
    in.u64(e.bucket_bytes);
  });
}

void walk(auto& io, Of<RefreshAnswer> auto& m) {
  io.list8(m.unknown, kRefreshEntriesMax, kU32);
  io.list8(m.revoked, kRefreshEntriesMax, kU32);
}

void walk(auto& io, Of<RefreshDigest> auto& m) {
  io.u24(m.incarnation);
  for (auto& digest : m.digests) io.u64(digest);
}

void walk(auto& io, Of<RefreshDifference> auto& m) {
  io.list8(m.parts, kRefreshParts, [](auto& in, auto& part) { in.u8(part); });
  for (size_t i = 0; i < m.parts.size(); ++i) {
    io.check(m.parts[i] < kRefreshParts && (i == 0 || m.parts[i - 1] < m.parts[i]));
  }
}

// --- replica to replica ---

void walk(auto& io, Of<Place> auto& m) {
  record(io, m.record);
  io.flag(m.born_new);
}

void walk(auto& io, Of<PlaceAck> auto& m) {
  using Status = PlaceAck::Status;
  key(io, m.key);
  version(io, m.version);
  io.choice(m.status, Status::ok, Status::out_of_sync);
  io.optional(m.record, kRecord);
  io.u32(m.boot);
}

void walk(auto& io, Of<Held> auto& m) {
  key(io, m.key);
  version(io, m.version);
  node(io, m.owner);
  io.optional(m.record, kRecord);
  io.flag(m.unproven);
}
void walk(auto& io, Of<Withdraw> auto& m) {
  key(io, m.key);
  version(io, m.version);
  node(io, m.owner);
}

void walk(auto& io, Of<Change> auto& m) {
  io.u64(m.number);
  record(io, m.record);
  io.flag(m.lifted);
  io.u32(m.boot);
  io.u32(m.to_boot);
  io.check(m.number != 0);
}

void walk(auto& io, Of<ChangeAck> auto& m) {
  io.u64(m.number);
  io.u32(m.boot);
  io.u32(m.to_boot);
  io.u64(m.listed);
}
void walk(auto& io, Of<HoldersSilent> auto& m) {
  key(io, m.key);
  version(io, m.version);
}
void walk(auto& io, Of<Heartbeat> auto& m) {
  io.u32(m.boot);
  io.u32(m.to_boot);
  io.u64(m.applied);
  io.u64(m.listed);
  io.list16(m.members_heard, kHeartbeatMembersMax, kMember);
}

void walk(auto& io, Of<Permit> auto& m) {
  io.u32(m.boot);
  io.u32(m.to_boot);
  io.u64(m.number);
  io.flag(m.granted);
  io.flag(m.in_sync);
  io.flag(m.you_are_out_of_sync);
  io.u16(m.covers.first);
  io.u16(m.covers.last);
  io.check(m.covers.first <= m.covers.last);
  slots(io, m.out_of_sync);
}

void walk(auto& io, Of<SyncRequest> auto& m) {
  io.u64(m.cursor);
  io.u32(m.boot);
  slots(io, m.slots);
}

void walk(auto& io, Of<SyncChunk> auto& m) {
  io.u32(m.boot);
  io.u64(m.cursor);
  io.u64(m.next);
  io.flag(m.expects);
  io.u16(m.first_slot);
  for (auto* bits : {&m.out_of_sync, &m.lacking}) {
    io.list16(*bits, kSlotBytesMax, kU8);
    io.check(m.first_slot + 8 * bits->size() <= kSlots);
  }
  io.list8(m.records, kSyncRecordsMax, kRecord);
  io.list8(m.placed, kSyncRecordsMax, [](auto& in, auto& p) {
    record(in, p.record);
    in.flag(p.born_new);
    in.check(!is_tombstone(p.record.state));
  });
  io.check(m.records.size() + m.placed.size() <= (m.cursor < kSyncRecordsCursor ? 0 : kSyncRecordsMax));
  io.check(m.cursor < kSyncRecordsCursor || (m.out_of_sync.empty() && m.lacking.empty()));
}

// --- to holders and owners ---

void walk(auto& io, Of<Purge> auto& m) {
  key(io, m.key);
  group(io, m.group);
  version(io, m.version);
  state(io, m.state);
  io.u32(m.remaining_ms);
}

void walk(auto& io, Of<Entry> auto& m) {
  key(io, m.key);
  group(io, m.group);
  target(io, m.target);
  member_or_none(io, m.member);
  version(io, m.version);
  io.u32(m.lease_ms);
  io.u64(m.lease_bytes);
  stamp(io, m.echo);
  io.packet(m.packet);
  io.check(m.target != Target::member || m.member.value != 0);
}

void walk(auto& io, Of<Notice> auto& m) {
  io.u32(m.handle);
  version(io, m.version);
  state(io, m.state);
  io.u32(m.remaining_ms);
}

void walk(auto&, Of<Ack> auto&) {}

void walk(auto& io, Of<SlotDigests> auto& m) {
  io.u16(m.first);
  io.u16(m.last);
  io.list8(m.digests, kDigestsMax, [](auto& in, auto& v) { in.u64(v); });
  const size_t slots = m.last < m.first ? 0 : m.last - m.first + 1u;
  io.check(!m.digests.empty() && slots > 0 && slots % (m.digests.empty() ? 1 : m.digests.size()) == 0);
}

void walk(auto& io, Of<Audit> auto& m) {
  io.u16(m.first);
  io.u16(m.last);
  proxy(io, m.with);
  io.u32(m.place);
  io.flag(m.listed);
  io.check(m.first <= m.last && m.with.value != 0 && (m.listed ? m.first == m.last : m.place == 0));
}
void walk(auto& io, Of<AuditAnswer> auto& m) {
  io.flag(m.in_sync);
  io.u32(m.next);
  io.list8(m.digests, kDigestsMax, [](auto& in, auto& v) { in.u64(v); });
  io.list8(m.entries, kAuditEntriesMax, [](auto& in, auto& e) {
    key(in, e.key);
    state(in, e.state);
    node(in, e.owner);
    version(in, e.version);
  });
  io.check(m.digests.empty() || (m.entries.empty() && m.next == 0));
}

void walk(auto& io, Of<SummaryRequest> auto& m) {
  io.u32(m.version);
  io.u32(m.block);
  io.u64(m.number);
}

void walk(auto& io, Of<SummaryBlocks> auto& m) {
  io.u32(m.version);
  io.u32(m.of);
  io.u32(m.first);
  io.u64(m.number);
  io.packet(m.blocks);
  const size_t n = m.blocks.size() / SessionFilter::kBlockBytes;
  io.check(m.version != 0 && m.blocks.size() % SessionFilter::kBlockBytes == 0);
  io.check(n >= 1 && n <= kSummaryBlocksMax && m.first < m.of && m.of - m.first >= n);
}

void walk(auto& io, Of<SummaryDelta> auto& m) {
  io.u32(m.version);
  io.u64(m.first);
  io.u64(m.last);
  io.list8(m.sessions, kSummarySessionsMax, [](auto& in, auto& v) { in.u64(v); });
  slots(io, m.out_of_sync);
  io.check(m.sessions.empty() ||
           (m.version != 0 && m.first != 0 && m.last >= m.first && m.last - m.first + 1 >= m.sessions.size()));
}

// --- header ---

struct Outer {
  uint8_t type = 0;
  uint16_t length = 0;
};

void walk_header(auto& io, auto& outer, auto& h) {
  io.u8(outer.type);
  io.u8(h.hops);
  io.u16(outer.length);
  io.u32(h.request);
  node(io, h.origin);
  io.u32(h.view.revision);
  io.u32(h.view.hash);
  io.check(h.hops <= 1);
}

// The body with the number `index` in MessageBody, default-made.
template <size_t... I>
bool emplace(MessageBody& body, size_t index, std::index_sequence<I...>) {
  return ((index == I && (body.emplace<I>(), true)) || ...);
}

template <class Body>
uint8_t type_of(const Body& body) {
  if constexpr (std::same_as<Body, MessageBody>)
    return static_cast<uint8_t>(kMessageTypeFirst + body.index());
  else
    return message_type<Body>();
}

constexpr const char* kNames[] = {"query",
                                  "query_answer",
                                  "insert",
                                  "insert_answer",
                                  "remove",
                                  "revoke",
                                  "unrevoke",
                                  "request_answer",
                                  "refresh",
                                  "refresh_answer",
                                  "place",
                                  "place_ack",
                                  "held",
                                  "withdraw",
                                  "change",
                                  "change_ack",
                                  "holders_silent",
                                  "heartbeat",
                                  "permit",
                                  "sync_request",
                                  "sync_chunk",
                                  "purge",
                                  "entry",
                                  "notice",
                                  "ack",
                                  "slot_digests",
                                  "summary_request",
                                  "summary_blocks",
                                  "summary_delta",
                                  "refresh_digest",
                                  "refresh_difference",
                                  "audit",
                                  "audit_answer"};
static_assert(std::size(kNames) == std::variant_size_v<MessageBody>);

}  // namespace

const char* to_string(RecordState s) {
  switch (s) {
    case RecordState::half_open: return "half_open";
    case RecordState::established: return "established";
    case RecordState::closing: return "closing";
    case RecordState::removed: return "removed";
    case RecordState::revoked: return "revoked";
  }
  return "unknown";
}

const char* to_string(Target t) {
  switch (t) {
    case Target::member: return "member";
    case Target::drop: return "drop";
    case Target::stateless: return "stateless";
  }
  return "unknown";
}

const char* to_string(QueryForm f) {
  switch (f) {
    case QueryForm::query: return "query";
    case QueryForm::query_and_forward: return "query_and_forward";
    case QueryForm::query_and_return: return "query_and_return";
  }
  return "unknown";
}

const char* message_name(const MessageBody& body) {
  return kNames[body.index()];
}

template <class Body>
size_t encode_as(const MessageHeader& header, const Body& body, MutableBytes out) {
  Put put{out};
  Outer outer{type_of(body), 0};
  walk_header(put, std::as_const(outer), header);
  if constexpr (std::same_as<Body, MessageBody>)
    std::visit([&](const auto& b) { walk(put, b); }, body);
  else
    walk(put, body);
  if (!put.ok()) return 0;
  Writer(out.subspan(2)).u16(put.size());
  return put.size();
}
template size_t encode_as(const MessageHeader&, const Query&, MutableBytes);
template size_t encode_as(const MessageHeader&, const QueryAnswer&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Insert&, MutableBytes);
template size_t encode_as(const MessageHeader&, const InsertAnswer&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Remove&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Revoke&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Unrevoke&, MutableBytes);
template size_t encode_as(const MessageHeader&, const RequestAnswer&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Refresh&, MutableBytes);
template size_t encode_as(const MessageHeader&, const RefreshAnswer&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Place&, MutableBytes);
template size_t encode_as(const MessageHeader&, const PlaceAck&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Held&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Withdraw&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Change&, MutableBytes);
template size_t encode_as(const MessageHeader&, const ChangeAck&, MutableBytes);
template size_t encode_as(const MessageHeader&, const HoldersSilent&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Heartbeat&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Permit&, MutableBytes);
template size_t encode_as(const MessageHeader&, const SyncRequest&, MutableBytes);
template size_t encode_as(const MessageHeader&, const SyncChunk&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Purge&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Entry&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Notice&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Ack&, MutableBytes);
template size_t encode_as(const MessageHeader&, const SlotDigests&, MutableBytes);
template size_t encode_as(const MessageHeader&, const SummaryRequest&, MutableBytes);
template size_t encode_as(const MessageHeader&, const SummaryBlocks&, MutableBytes);
template size_t encode_as(const MessageHeader&, const SummaryDelta&, MutableBytes);
template size_t encode_as(const MessageHeader&, const RefreshDigest&, MutableBytes);
template size_t encode_as(const MessageHeader&, const RefreshDifference&, MutableBytes);
template size_t encode_as(const MessageHeader&, const Audit&, MutableBytes);
template size_t encode_as(const MessageHeader&, const AuditAnswer&, MutableBytes);
template size_t encode_as(const MessageHeader&, const MessageBody&, MutableBytes);

std::vector<uint8_t> encode(const MessageHeader& header, const MessageBody& body) {
  std::array<uint8_t, kEncodedRoom> buffer;
  const size_t size = encode_as(header, body, MutableBytes(buffer));
  return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size)};
}

bool decode(Bytes bytes, Message& m) {
  if (bytes.size() < kMessageHeaderSize || bytes.size() > kEncodedMax) return false;
  Take take(bytes);
  Outer outer;
  walk_header(take, outer, m.header);
  if (!take.ok() || outer.length != bytes.size() || outer.type < kMessageTypeFirst) return false;
  if (!emplace(m.body, outer.type - kMessageTypeFirst, std::make_index_sequence<std::variant_size_v<MessageBody>>{}))
    return false;
  std::visit([&](auto& b) { walk(take, b); }, m.body);
  return take.done();
}

std::optional<Message> decode(Bytes bytes) {
  std::optional<Message> m(std::in_place);
  if (!decode(bytes, *m)) m.reset();
  return m;
}

}  // namespace statecast
