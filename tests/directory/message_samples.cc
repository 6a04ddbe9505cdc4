// SPDX-License-Identifier: BSD-3-Clause
#include "tests/directory/message_samples.h"

#include <array>
#include <utility>

#include "dataplane/session/session_filter.h"

namespace statecast::test {

namespace {

using nlohmann::json;

uint64_t bits(Rng& rng, unsigned n) {
  // The ends of the range as often as its middle.
  if (rng.chance(0.1)) return 0;
  uint64_t max = n == 64 ? UINT64_MAX : (1ull << n) - 1;
  if (rng.chance(0.1)) return max;
  return rng.next() & max;
}
uint32_t u32(Rng& rng) {
  return static_cast<uint32_t>(bits(rng, 32));
}
bool flag(Rng& rng) {
  return rng.chance(0.5);
}
uint32_t id24(Rng& rng) {
  return static_cast<uint32_t>(rng.between(1, kId24Max));
}
SessionKey random_key(Rng& rng) {
  return {rng.next(), rng.next()};
}
GroupId random_group(Rng& rng) {
  return {id24(rng)};
}
MemberId random_member(Rng& rng) {
  return {id24(rng)};
}
ProxyId random_proxy(Rng& rng) {
  return {id24(rng)};
}
Version random_version(Rng& rng) {
  return {static_cast<uint16_t>(bits(rng, 16)), static_cast<uint32_t>(bits(rng, 24)), bits(rng, 40)};
}
Target random_target(Rng& rng) {
  return Target(rng.between(1, 3));
}
RecordState random_state(Rng& rng) {
  return RecordState(rng.between(1, 5));
}
NodeId random_node(Rng& rng) {
  switch (rng.below(3)) {
    case 0: return NodeId::proxy(random_proxy(rng));
    case 1: return NodeId::member(random_member(rng));
    default: return NodeId::op();
  }
}
MemberId destination(Rng& rng, RecordState s, Target t) {
  bool needed = t == Target::member && !is_tombstone(s);
  return needed || flag(rng) ? random_member(rng) : MemberId{};
}
SessionId random_id(Rng& rng) {
  Protocol protocol = flag(rng) ? Protocol::tcp : Protocol::udp;
  std::array<uint8_t, 16> a, b;
  rng.fill(a);
  rng.fill(b);
  Port from{static_cast<uint16_t>(rng.next())}, to{static_cast<uint16_t>(rng.next())};
  if (flag(rng))
    return SessionId::tuple(random_group(rng), protocol, {IpAddress::v4(Bytes(a).first(4)), from},
                            {IpAddress::v4(Bytes(b).first(4)), to});
  return SessionId::tuple(random_group(rng), protocol, {IpAddress::v6(a), from}, {IpAddress::v6(b), to});
}
Record random_record(Rng& rng) {
  Record r{
      .key = random_key(rng), .group = random_group(rng), .state = random_state(rng), .target = random_target(rng)};
  r.member = destination(rng, r.state, r.target);
  r.owner = random_node(rng);
  r.version = random_version(rng);
  r.handle = u32(rng);
  r.remaining_ms = u32(rng);
  r.bucket_bytes = bits(rng, 64);
  r.bucket_counter = bits(rng, 40);
  return r;
}
std::optional<Record> maybe_record(Rng& rng) {
  if (flag(rng)) return std::nullopt;
  return random_record(rng);
}
Bytes random_packet(Rng& rng, std::vector<uint8_t>& packet, size_t max = kMessagePacketMax) {
  packet.resize(flag(rng) ? 0 : rng.between(1, max));
  rng.fill(packet);
  return packet;
}
template <class T, class F>
std::vector<T> random_list(Rng& rng, size_t max, F one) {
  std::vector<T> out(rng.chance(0.2) ? max : rng.below(max + 1));
  for (T& t : out) t = one();
  return out;
}

std::vector<SlotRange> random_slots(Rng& rng) {
  std::vector<SlotRange> out;
  size_t count = rng.chance(0.2) ? kSlotRangesMax : rng.below(5);
  for (uint16_t at = 0; out.size() < count; at = static_cast<uint16_t>(out.back().last + rng.between(1, 150)))
    out.push_back({at, static_cast<uint16_t>(at + rng.below(150))});
  return out;
}

template <size_t... I>
MessageBody body_of(size_t index, std::index_sequence<I...>) {
  MessageBody b;
  static_cast<void>(((index == I && (b.emplace<I>(), true)) || ...));
  return b;
}

struct Fill {
  Rng& rng;
  std::vector<uint8_t>& packet;

  void operator()(Query& m) {
    m = {random_key(rng), random_group(rng)};
    m.packet = random_packet(rng, packet, kQueryPacketMax);
    if (!m.packet.empty()) m.form = QueryForm(rng.between(2, 3));
  }
  void operator()(QueryAnswer& m) {
    m = {.key = random_key(rng),
         .status = QueryAnswer::Status(rng.between(1, 6)),
         .target = random_target(rng),
         .member = random_member(rng),
         .state = random_state(rng),
         .version = random_version(rng),
         .lease_ms = u32(rng),
         .lease_bytes = bits(rng, 64),
         .remaining_ms = u32(rng),
         .packet = random_packet(rng, packet, kQueryPacketMax)};
    if (m.status != QueryAnswer::Status::live && flag(rng)) m.member = {};
  }
  void operator()(Insert& m) {
    m.id = random_id(rng);
    m.state = RecordState(rng.between(1, 3));
    m.target = random_target(rng);
    m.member = destination(rng, m.state, m.target);
    m.version = random_version(rng);
    m.handle = u32(rng);
    m.lifetime_ms = u32(rng);
    m.bucket_bytes = bits(rng, 64);
    m.bucket_counter = bits(rng, 40);
    m.born_new = flag(rng);
    if (flag(rng)) m.ingress = random_proxy(rng);
    m.packet = random_packet(rng, packet);
    m.returns = !m.packet.empty() && flag(rng);
  }
  void operator()(InsertAnswer& m) {
    m.status = InsertAnswer::Status(rng.between(1, 6));
    m.copies = static_cast<uint8_t>(bits(rng, 8));
    m.version = random_version(rng);
    m.replicas = random_list<ProxyId>(rng, kReplicasMax, [&] { return random_proxy(rng); });
    m.packet = random_packet(rng, packet);
    m.record = maybe_record(rng);
  }
  void operator()(Remove& m) { m = {random_id(rng), random_version(rng)}; }
  template <class M>
  void who(M& m) {
    if (flag(rng)) {
      m.id = random_id(rng);
    } else {
      m.key = random_key(rng);
      m.group = random_group(rng);
    }
  }
  void operator()(Revoke& m) {
    who(m);
    m.duration_ms = u32(rng);
    m.name = rng.between(1, kCounterMask);
  }
  void operator()(Unrevoke& m) {
    who(m);
    m.name = flag(rng) ? 0 : rng.between(1, kCounterMask);
  }
  void operator()(RequestAnswer& m) {
    m = {RequestAnswer::Status(rng.between(1, 7)), static_cast<uint8_t>(bits(rng, 8))};
  }
  void operator()(Refresh& m) {
    m.incarnation = static_cast<uint32_t>(bits(rng, 24));
    m.entries = random_list<Refresh::Entry>(rng, kRefreshEntriesMax, [&] {
      return Refresh::Entry{u32(rng), bits(rng, 40), bits(rng, 64)};
    });
  }
  void operator()(RefreshAnswer& m) {
    m.unknown = random_list<uint32_t>(rng, kRefreshEntriesMax, [&] { return u32(rng); });
    m.revoked = random_list<uint32_t>(rng, kRefreshEntriesMax, [&] { return u32(rng); });
  }
  void operator()(Place& m) { m = {random_record(rng), flag(rng)}; }
  void operator()(PlaceAck& m) {
    m = {random_key(rng), random_version(rng), PlaceAck::Status(rng.between(1, 5)), maybe_record(rng), u32(rng)};
  }
  void operator()(Held& m) {
    m = {random_key(rng), random_version(rng), random_node(rng), maybe_record(rng), flag(rng)};
  }
  void operator()(Withdraw& m) { m = {random_key(rng), random_version(rng), random_node(rng)}; }
  void operator()(Change& m) {
    m = {rng.between(1, UINT64_MAX - 1), random_record(rng), flag(rng), u32(rng), u32(rng)};
  }
  void operator()(ChangeAck& m) { m = {bits(rng, 64), u32(rng), u32(rng), bits(rng, 64)}; }
  void operator()(HoldersSilent& m) { m = {random_key(rng), random_version(rng)}; }
  void operator()(Heartbeat& m) {
    m.boot = u32(rng);
    m.to_boot = u32(rng);
    m.applied = bits(rng, 64);
    m.listed = bits(rng, 64);
    m.members_heard = random_list<MemberId>(rng, kHeartbeatMembersMax, [&] { return random_member(rng); });
  }
  void operator()(Permit& m) {
    m = {u32(rng), u32(rng), bits(rng, 64), flag(rng), flag(rng), flag(rng), {0, 0}, random_slots(rng)};
    m.covers.last = static_cast<uint16_t>(bits(rng, 16));
  }
  void operator()(SyncRequest& m) { m = {bits(rng, 64), u32(rng), random_slots(rng)}; }
  void operator()(SyncChunk& m) {
    m.boot = u32(rng);
    m.cursor = bits(rng, 64);
    m.next = bits(rng, 64);
    m.expects = flag(rng);
    if (m.cursor < kSyncRecordsCursor) {
      m.first_slot = static_cast<uint16_t>(rng.below(kSlots - 8 * kSlotBytesMax));
      m.out_of_sync = random_list<uint8_t>(rng, kSlotBytesMax, [&] { return static_cast<uint8_t>(bits(rng, 8)); });
      m.lacking = random_list<uint8_t>(rng, kSlotBytesMax, [&] { return static_cast<uint8_t>(bits(rng, 8)); });
      return;
    }
    m.records = random_list<Record>(rng, kSyncRecordsMax, [&] { return random_record(rng); });
    m.placed = random_list<SyncChunk::Placed>(rng, kSyncRecordsMax - m.records.size(), [&] {
      SyncChunk::Placed p{random_record(rng), flag(rng)};
      if (is_tombstone(p.record.state)) p.record.state = RecordState::half_open;
      if (p.record.target == Target::member && p.record.member.value == 0) p.record.member = random_member(rng);
      return p;
    });
  }
  void operator()(Audit& m) {
    m.first = m.last = static_cast<uint16_t>(bits(rng, 16));
    m.with = random_proxy(rng);
    m.listed = flag(rng);
    if (m.listed)
      m.place = u32(rng);
    else
      m.last = static_cast<uint16_t>(rng.between(m.first, kSlots - 1));
  }
  void operator()(AuditAnswer& m) {
    m.in_sync = flag(rng);
    if (flag(rng)) {
      m.digests = random_list<uint64_t>(rng, kDigestsMax, [&] { return rng.next(); });
      return;
    }
    m.next = u32(rng);
    m.entries = random_list<AuditAnswer::Entry>(rng, kAuditEntriesMax, [&] {
      return AuditAnswer::Entry{random_key(rng), RecordState(rng.between(1, 5)), random_node(rng), random_version(rng)};
    });
  }
  void operator()(SlotDigests& m) {
    m.digests.resize(1u << rng.below(7));
    for (uint64_t& d : m.digests) d = bits(rng, 64);
    m.first = static_cast<uint16_t>(rng.below(32'768));
    m.last = static_cast<uint16_t>(m.first + m.digests.size() * rng.between(1, 512) - 1);
  }
  void operator()(RefreshDigest& m) {
    m.incarnation = static_cast<uint32_t>(bits(rng, 24));
    for (uint64_t& d : m.digests) d = bits(rng, 64);
  }
  void operator()(RefreshDifference& m) {
    for (size_t part = 0; part < kRefreshParts; ++part) {
      if (flag(rng)) m.parts.push_back(static_cast<uint8_t>(part));
    }
  }
  void operator()(SummaryRequest& m) { m = {u32(rng), u32(rng), bits(rng, 64)}; }
  void operator()(SummaryBlocks& m) {
    packet.resize(rng.between(1, kSummaryBlocksMax) * SessionFilter::kBlockBytes);
    rng.fill(packet);
    m.version = u32(rng) | 1;
    m.first = static_cast<uint32_t>(rng.below(1'000'000));
    m.of = m.first + static_cast<uint32_t>(packet.size() / SessionFilter::kBlockBytes + rng.below(1000));
    m.number = bits(rng, 64);
    m.blocks = packet;
  }
  void operator()(SummaryDelta& m) {
    m.version = u32(rng) | 1;
    m.sessions = random_list<uint64_t>(rng, kSummarySessionsMax, [&] { return bits(rng, 64); });
    m.first = rng.between(1, 1'000'000);
    m.last = m.first + m.sessions.size() + rng.below(1000);
    m.out_of_sync = random_slots(rng);
  }
  void operator()(Purge& m) {
    m = {random_key(rng), random_group(rng), random_version(rng), random_state(rng), u32(rng)};
  }
  void operator()(Entry& m) {
    m.key = random_key(rng);
    m.group = random_group(rng);
    m.target = random_target(rng);
    m.member = m.target == Target::member ? random_member(rng) : MemberId{};
    m.version = random_version(rng);
    m.lease_ms = u32(rng);
    m.lease_bytes = bits(rng, 64);
    m.echo = {u32(rng), bits(rng, 48)};
    m.packet = random_packet(rng, packet);
  }
  void operator()(Notice& m) { m = {u32(rng), random_version(rng), random_state(rng), u32(rng)}; }
  void operator()(Ack&) {}
};

// --- JSON: numbers as numbers (64-bit ones exact), IDs as text where the product prints them so ---

json j(const SessionKey& k) {
  return to_string(k);
}
json j(const SessionId& id) {
  return to_hex(id.bytes());
}
json j(const Version& v) {
  return {{"term", v.term}, {"incarnation", v.incarnation}, {"counter", v.counter}};
}
json j(NodeId n) {
  return to_string(n);
}
json j(RecordState s) {
  return to_string(s);
}
json j(Target t) {
  return to_string(t);
}
json j(const Stamp& s) {
  return {{"boot", s.boot}, {"timestamp_us", s.timestamp_us}};
}
json j(const Record& r) {
  return {{"key", j(r.key)},
          {"group", r.group.value},
          {"state", j(r.state)},
          {"target", j(r.target)},
          {"member", r.member.value},
          {"owner", j(r.owner)},
          {"version", j(r.version)},
          {"handle", r.handle},
          {"remaining_ms", r.remaining_ms},
          {"bucket_bytes", r.bucket_bytes},
          {"bucket_counter", r.bucket_counter}};
}
json j(const std::vector<SlotRange>& slots) {
  json out = json::array();
  for (const SlotRange& r : slots) out.push_back({r.first, r.last});
  return out;
}
json j(const std::optional<Record>& r) {
  return r ? j(*r) : json(nullptr);
}

template <class E, size_t N>
json word(E e, const char* const (&names)[N]) {
  return names[static_cast<size_t>(e) - 1];
}

struct Describe {
  json operator()(const Query& m) {
    return {{"key", j(m.key)}, {"group", m.group.value}, {"form", to_string(m.form)}, {"packet", to_hex(m.packet)}};
  }
  json operator()(const QueryAnswer& m) {
    return {{"key", j(m.key)},
            {"status", word(m.status, {"live", "none", "ask_another", "no_bytes", "tombstone", "unavailable"})},
            {"target", j(m.target)},
            {"member", m.member.value},
            {"state", j(m.state)},
            {"version", j(m.version)},
            {"lease_ms", m.lease_ms},
            {"lease_bytes", m.lease_bytes},
            {"remaining_ms", m.remaining_ms},
            {"packet", to_hex(m.packet)}};
  }
  json operator()(const Insert& m) {
    return {{"id", j(m.id)},
            {"state", j(m.state)},
            {"target", j(m.target)},
            {"member", m.member.value},
            {"version", j(m.version)},
            {"handle", m.handle},
            {"lifetime_ms", m.lifetime_ms},
            {"bucket_bytes", m.bucket_bytes},
            {"bucket_counter", m.bucket_counter},
            {"born_new", m.born_new},
            {"ingress", m.ingress.value},
            {"returns", m.returns},
            {"packet", to_hex(m.packet)}};
  }
  json operator()(const InsertAnswer& m) {
    json replicas = json::array();
    for (ProxyId p : m.replicas) replicas.push_back(p.value);
    return {{"status", word(m.status, {"ok", "degraded", "busy", "conflict", "refused", "try_again"})},
            {"copies", m.copies},
            {"version", j(m.version)},
            {"replicas", replicas},
            {"packet", to_hex(m.packet)},
            {"record", j(m.record)}};
  }
  json operator()(const Remove& m) { return {{"id", j(m.id)}, {"version", j(m.version)}}; }
  template <class M>
  json who(const M& m) {
    if (m.id) return {{"id", j(*m.id)}};
    return {{"key", j(m.key)}, {"group", m.group.value}};
  }
  json operator()(const Revoke& m) {
    json out = who(m);
    out["duration_ms"] = m.duration_ms;
    out["name"] = m.name;
    return out;
  }
  json operator()(const Unrevoke& m) {
    json out = who(m);
    out["name"] = m.name;
    return out;
  }
  json operator()(const RequestAnswer& m) {
    return {{"status", word(m.status, {"ok", "stored", "silent", "degraded", "denied", "not_found", "try_again"})},
            {"copies", m.copies}};
  }
  json operator()(const Refresh& m) {
    json entries = json::array();
    for (auto& e : m.entries)
      entries.push_back({{"handle", e.handle}, {"counter", e.counter}, {"bucket_bytes", e.bucket_bytes}});
    return {{"incarnation", m.incarnation}, {"entries", entries}};
  }
  json operator()(const RefreshAnswer& m) { return {{"unknown", m.unknown}, {"revoked", m.revoked}}; }
  json operator()(const Place& m) { return {{"record", j(m.record)}, {"born_new", m.born_new}}; }
  json operator()(const PlaceAck& m) {
    return {{"key", j(m.key)},
            {"version", j(m.version)},
            {"status", word(m.status, {"ok", "busy", "conflict", "refused", "out_of_sync"})},
            {"record", j(m.record)},
            {"boot", m.boot}};
  }
  json operator()(const Held& m) {
    return {{"key", j(m.key)},
            {"version", j(m.version)},
            {"owner", j(m.owner)},
            {"record", j(m.record)},
            {"unproven", m.unproven}};
  }
  json operator()(const Withdraw& m) { return {{"key", j(m.key)}, {"version", j(m.version)}, {"owner", j(m.owner)}}; }
  json operator()(const Change& m) {
    return {
        {"number", m.number}, {"record", j(m.record)}, {"lifted", m.lifted}, {"boot", m.boot}, {"to_boot", m.to_boot}};
  }
  json operator()(const ChangeAck& m) {
    return {{"number", m.number}, {"boot", m.boot}, {"to_boot", m.to_boot}, {"listed", m.listed}};
  }
  json operator()(const HoldersSilent& m) { return {{"key", j(m.key)}, {"version", j(m.version)}}; }
  json operator()(const Heartbeat& m) {
    json members = json::array();
    for (MemberId id : m.members_heard) members.push_back(id.value);
    return {{"boot", m.boot},
            {"to_boot", m.to_boot},
            {"applied", m.applied},
            {"listed", m.listed},
            {"members_heard", members}};
  }
  json operator()(const Permit& m) {
    return {{"boot", m.boot},
            {"to_boot", m.to_boot},
            {"number", m.number},
            {"granted", m.granted},
            {"in_sync", m.in_sync},
            {"you_are_out_of_sync", m.you_are_out_of_sync},
            {"covers", {m.covers.first, m.covers.last}},
            {"out_of_sync", j(m.out_of_sync)}};
  }
  json operator()(const SyncRequest& m) { return {{"cursor", m.cursor}, {"boot", m.boot}, {"slots", j(m.slots)}}; }
  json operator()(const SyncChunk& m) {
    json records = json::array();
    for (auto& r : m.records) records.push_back(j(r));
    json placed = json::array();
    for (auto& p : m.placed) placed.push_back({{"record", j(p.record)}, {"born_new", p.born_new}});
    return {{"boot", m.boot},       {"cursor", m.cursor},         {"next", m.next},
            {"expects", m.expects}, {"first_slot", m.first_slot}, {"out_of_sync", m.out_of_sync},
            {"lacking", m.lacking}, {"records", records},         {"placed", placed}};
  }
  json operator()(const Audit& m) {
    return {{"first", m.first}, {"last", m.last}, {"with", m.with.value}, {"place", m.place}, {"listed", m.listed}};
  }
  json operator()(const AuditAnswer& m) {
    json entries = json::array();
    for (const auto& e : m.entries)
      entries.push_back({{"key", j(e.key)}, {"state", j(e.state)}, {"owner", j(e.owner)}, {"version", j(e.version)}});
    return {{"in_sync", m.in_sync}, {"next", m.next}, {"digests", m.digests}, {"entries", entries}};
  }
  json operator()(const SlotDigests& m) { return {{"first", m.first}, {"last", m.last}, {"digests", m.digests}}; }
  json operator()(const RefreshDigest& m) { return {{"incarnation", m.incarnation}, {"digests", m.digests}}; }
  json operator()(const RefreshDifference& m) { return {{"parts", m.parts}}; }
  json operator()(const SummaryRequest& m) {
    return {{"version", m.version}, {"block", m.block}, {"number", m.number}};
  }
  json operator()(const SummaryBlocks& m) {
    return {
        {"version", m.version}, {"of", m.of}, {"first", m.first}, {"number", m.number}, {"blocks", to_hex(m.blocks)}};
  }
  json operator()(const SummaryDelta& m) {
    return {{"version", m.version},
            {"first", m.first},
            {"last", m.last},
            {"sessions", m.sessions},
            {"out_of_sync", j(m.out_of_sync)}};
  }
  json operator()(const Purge& m) {
    return {{"key", j(m.key)},
            {"group", m.group.value},
            {"version", j(m.version)},
            {"state", j(m.state)},
            {"remaining_ms", m.remaining_ms}};
  }
  json operator()(const Entry& m) {
    return {{"key", j(m.key)},
            {"group", m.group.value},
            {"target", j(m.target)},
            {"member", m.member.value},
            {"version", j(m.version)},
            {"lease_ms", m.lease_ms},
            {"lease_bytes", m.lease_bytes},
            {"echo", j(m.echo)},
            {"packet", to_hex(m.packet)}};
  }
  json operator()(const Notice& m) {
    return {{"handle", m.handle}, {"version", j(m.version)}, {"state", j(m.state)}, {"remaining_ms", m.remaining_ms}};
  }
  json operator()(const Ack&) { return json::object(); }
};

}  // namespace

MessageHeader random_header(Rng& rng) {
  return {.request = u32(rng),
          .origin = random_node(rng),
          .hops = static_cast<uint8_t>(rng.below(2)),
          .view = {u32(rng), u32(rng)}};
}

MessageBody random_body(Rng& rng, size_t index, std::vector<uint8_t>& packet) {
  MessageBody b = body_of(index, std::make_index_sequence<kBodies>{});
  std::visit(Fill{rng, packet}, b);
  return b;
}

json to_json(const MessageHeader& header, const MessageBody& body) {
  return {{"message", message_name(body)},
          {"request", header.request},
          {"origin", j(header.origin)},
          {"hops", header.hops},
          {"view", {{"revision", header.view.revision}, {"hash", header.view.hash}}},
          {"body", std::visit(Describe{}, body)}};
}

std::string to_hex(Bytes bytes) {
  std::string out;
  for (uint8_t b : bytes) {
    out += "0123456789abcdef"[b >> 4];
    out += "0123456789abcdef"[b & 15];
  }
  return out;
}

std::vector<uint8_t> from_hex(const std::string& text) {
  std::vector<uint8_t> out;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return out;
}

}  // namespace statecast::test
