// SPDX-License-Identifier: BSD-3-Clause
// Messages: what directory nodes, proxies and members say to each other, as structs, and their codec. On the wire a
// message is the whole payload of an envelope of kind `message`; the layouts stand in docs/wire-format.md.
//
//   auto bytes = encode(MessageHeader{.request = 7, .origin = self}, Query{key, group});
//   auto m = decode(bytes);                       // nullopt: not a message of ours
//   if (auto* q = std::get_if<Query>(&m->body)) ...
//
// All requests are idempotent: the same (origin, request) may arrive twice, and gets the same answer. Lifetimes are
// milliseconds remaining. Every message has its own length and ends exactly there.
// Threads: pure functions. Ownership: decode copies nothing large: `packet` is a view into the input.
#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "dataplane/envelope/envelope.h"
#include "dataplane/session/session_id.h"
#include "directory/refresh_digest.h"
#include "directory/view.h"

namespace statecast {

enum class Target : uint8_t { member = 1, drop = 2, stateless = 3 };

enum class RecordState : uint8_t {
  half_open = 1,    // inserted at the SYN/ACK; 10 s
  established = 2,  // 60 s, refreshed
  closing = 3,      // the member's kernel has ended it; 60 s; a `new` insert of another owner passes it
  removed = 4,      // removal tombstone, 60 s; only an insert marked `new` passes it
  revoked = 5,      // tombstone of the session; only unrevoke or expiry lifts it
};
constexpr bool is_tombstone(RecordState s) {
  return s == RecordState::removed || s == RecordState::revoked;
}
const char* to_string(RecordState s);
const char* to_string(Target t);

// A mapping or a tombstone, as replicas exchange it.
struct Record {
  SessionKey key;
  GroupId group;
  RecordState state = RecordState::half_open;
  Target target = Target::member;
  MemberId member;  // destination where target is member
  NodeId owner;     // whose mapping it is; the operator's for a put
  Version version;
  uint32_t handle = 0;  // the owner's name for it
  uint32_t remaining_ms = 0;
  uint64_t bucket_bytes = 0;    // over all proxies, from the owner's last insert or refresh; kUnlimitedBytes: no bound
  uint64_t bucket_counter = 0;  // the owner's counter that set the bucket (40 bits)
  bool operator==(const Record&) const = default;
};
inline constexpr uint64_t kUnlimitedBytes = UINT64_MAX;

// Bounds, so that a message without a packet fits an envelope on an underlay of 1,500 bytes, IPv6 outside:
// 1,500 - 40 - 8 - 52 = 1,400.
inline constexpr size_t kMessageSizeMax = 1400;
inline constexpr size_t kMessagePacketMax = 1500;  // `packet` of Insert and Entry, beside the message's own fields
inline constexpr size_t kQueryPacketMax = 1330;    // of Query and QueryAnswer, so that both are kMessageSizeMax at most
inline constexpr size_t kEncodedMax =
    kMessagePacketMax + 256;                             // an Insert or Entry with its packet and the fields around it
inline constexpr size_t kEncodedRoom = kEncodedMax + 8;  // for its making
inline constexpr size_t kMessageHeaderSize = 20;
inline constexpr size_t kRecordSize = 59;
inline constexpr size_t kHeartbeatMembersMax = 400;  // more members heard: more heartbeats
inline constexpr size_t kSyncRecordsMax = 22;        // of one SyncChunk, held and placed
inline constexpr size_t kSlotRangesMax = 150;        // of one message
inline constexpr size_t kSlotBytesMax = 512;         // of a bit for each slot, in one message
inline constexpr size_t kRefreshEntriesMax = 60;     // of one Refresh; its answer lists at most as many

// Slots first..last, both included.
struct SlotRange {
  uint16_t first = 0, last = 0;
  bool operator==(const SlotRange&) const = default;
};

struct MessageHeader {
  uint32_t request = 0;  // chosen by the origin, echoed in answers
  NodeId origin;         // whose request it is: the envelope's sender, or the one for whom a proxy relays
  uint8_t hops = 0;      // times relayed; at most 1
  ViewId view;           // the sender's
};

// --- proxy to replica ---
// Whether the packet that met no lease comes along. The replica sends it back with its answer, to go on from where it
// came in; or, query_and_forward and a lease, to the member itself.
enum class QueryForm : uint8_t { query = 1, query_and_forward = 2, query_and_return = 3 };
const char* to_string(QueryForm f);
struct Query {
  SessionKey key;
  GroupId group;
  QueryForm form = QueryForm::query;
  Bytes packet;  // from its IP header on; empty where form is query
};
struct QueryAnswer {
  enum class Status : uint8_t {
    live = 1,         // mapping with a lease
    none = 2,         // this in-sync replica has nothing
    ask_another = 3,  // out of sync, only placed, no permits, or not a replica
    no_bytes = 4,     // live, but this replica's share is spent
    tombstone = 5,    // revoked or removed; remaining_ms says how long
    unavailable = 6,  // the owner is dead
  };
  SessionKey key;
  Status status = Status::none;
  Target target = Target::member;
  MemberId member;
  RecordState state = RecordState::half_open;
  Version version;
  uint32_t lease_ms = 0;
  uint64_t lease_bytes = 0;
  uint32_t remaining_ms = 0;
  Bytes packet;  // the query's, unless it was forwarded
};

// --- member (or operator) to any proxy; relayed at most once. Sessions by ID; the operator may give the key. ---
struct Insert {
  SessionId id;
  RecordState state = RecordState::half_open;
  Target target = Target::member;
  MemberId member;
  Version version;  // term as last known (0: absent), incarnation, counter
  uint32_t handle = 0;
  uint32_t lifetime_ms = 0;
  uint64_t bucket_bytes = kUnlimitedBytes;
  uint64_t bucket_counter = 0;  // the counter that set the bucket: a record that has this one keeps what is left of it
  bool born_new = false;        // of a later SYN/ACK or proven handshake: passes a removal tombstone
  ProxyId ingress;              // 0: plain insert. Otherwise its cache entry goes there
  bool returns = false;         // insertAndReturn: the packet comes back with the answer; else it goes with the entry
  Bytes packet;                 // the member's reply to release with it (empty for a plain insert)
};
struct InsertAnswer {
  enum class Status : uint8_t {
    ok = 1,
    degraded = 2,   // fewer than W copies; `copies` says how many
    busy = 3,       // another owner's placed record: withdrawn, retry later
    conflict = 4,   // another owner's held mapping or a tombstone, in `record`
    refused = 5,    // degraded and the group says refuse, no permits in `safe`, or an older version
    try_again = 6,  // not here: use the view in the header
  };
  Status status = Status::ok;
  uint8_t copies = 0;
  Version version;                // as stored: the coordinator sets the term
  std::vector<ProxyId> replicas;  // of the slot; where refreshes go
  Bytes packet;                   // insertAndReturn, with ok and degraded: the insert's
  std::optional<Record> record;   // with conflict; with refused, where the owner's own record is newer
};
struct Remove {
  SessionId id;
  Version version;
};
struct Revoke {
  std::optional<SessionId> id;  // members always; the operator this or `key`
  SessionKey key;               // used where id is absent
  GroupId group;
  uint32_t duration_ms = 600'000;
  uint64_t name = 0;  // 40 bits, drawn at random for each revocation and kept when it is sent again; not 0
};
struct Unrevoke {
  std::optional<SessionId> id;
  SessionKey key;
  GroupId group;
  uint64_t name = 0;  // of the revocation that it lifts, 40 bits; 0: of whichever stands
};
// To remove, revoke, unrevoke. A revoke gets several, in this order: stored, then silent.
struct RequestAnswer {
  enum class Status : uint8_t {
    ok = 1,
    stored = 2,
    silent = 3,
    degraded = 4,
    denied = 5,
    not_found = 6,
    try_again = 7
  };
  Status status = Status::ok;
  uint8_t copies = 0;
};
struct Refresh {
  // Extends the mapping to its full lifetime. `counter` is the one that set the bucket (Record::bucket_counter): a
  // newer one sets the bucket anew, the same one leaves it alone.
  struct Entry {
    uint32_t handle;
    uint64_t counter;
    uint64_t bucket_bytes;
  };
  uint32_t incarnation = 0;
  std::vector<Entry> entries;  // at most kRefreshEntriesMax
};
struct RefreshAnswer {
  std::vector<uint32_t> unknown;  // insert anew
  std::vector<uint32_t> revoked;  // insert anew at once, whatever state it is in: the conflict brings the tombstone
};

// Instead of a list: what the owner's established sessions at this replica are. The parts that are the same there are
// renewed as by a Refresh of each session; the others the owner lists.
struct RefreshDigest {
  uint32_t incarnation = 0;
  RefreshDigests digests{};
};
struct RefreshDifference {
  std::vector<uint8_t> parts;  // in order
};

// --- replica to replica ---
struct Place {
  Record record;
  bool born_new = false;
};
// Header request of Place and PlaceAck: the coordinator's number for this insert.
struct PlaceAck {
  enum class Status : uint8_t { ok = 1, busy = 2, conflict = 3, refused = 4, out_of_sync = 5 };
  SessionKey key;
  Version version;
  Status status = Status::ok;
  std::optional<Record> record;  // with busy and conflict; with refused as in InsertAnswer
  uint32_t boot = 0;             // the answerer's: an answer from before its restart does not count
};
// W replicas have this record of `owner` (two owners may have equal versions). The record itself comes along for a
// replica that has not acknowledged it. Of a tombstone it asks for HoldersSilent.
struct Held {
  SessionKey key;
  Version version;
  NodeId owner;
  std::optional<Record> record;
  bool unproven = false;  // degraded, and not to be granted by permits that are valid now
};
struct Withdraw {
  SessionKey key;
  Version version;
  NodeId owner;
};
// A change that permits wait for: revocation, removal, unrevoke, change of owner. Applied in order. Numbered from 1 in
// each list; a list is named by the boots of its two ends, so that a restart of either end starts a new one.
struct Change {
  uint64_t number = 0;
  Record record;
  bool lifted = false;   // unrevoke
  uint32_t boot = 0;     // of the sender, who keeps the list
  uint32_t to_boot = 0;  // of the receiver
};
// All up to `number` are applied.
struct ChangeAck {
  uint64_t number = 0;
  uint32_t boot = 0;     // of the receiver, who keeps the list
  uint32_t to_boot = 0;  // of the sender
  uint64_t listed = 0;   // last number in the sender's own list for the receiver; what stands above an acknowledged
                         // change is in there, so its copy counts once that is applied
};
// All holders that the sender granted leases of this session have acknowledged, or their leases are over.
struct HoldersSilent {
  SessionKey key;
  Version version;
};
// A boot is drawn anew at each start, and whenever a node falls out of sync. 0: not yet known.
struct Heartbeat {
  uint32_t boot = 0;                    // the sender's
  uint32_t to_boot = 0;                 // the receiver's, as far as the sender knows
  uint64_t applied = 0;                 // of the receiver's list
  uint64_t listed = 0;                  // as in ChangeAck
  std::vector<MemberId> members_heard;  // within the dead-man time
};
// Answer to a heartbeat, same request number. It is for the slots that both replicate in the view of its header, but
// those in which the sender is out of sync.
struct Permit {
  uint32_t boot = 0;                   // the sender's
  uint32_t to_boot = 0;                // the receiver's, as its heartbeat said
  uint64_t number = 0;                 // last in my list for you
  bool granted = true;                 // false: none
  bool in_sync = true;                 // in all of my slots, shared with you or not
  bool you_are_out_of_sync = false;    // you left a change unacknowledged too long
  SlotRange covers{0, 65'535};         // for slots of these only; for the others there is another
  std::vector<SlotRange> out_of_sync;  // my copies and answers do not count there; of shared slots, the rest is filler
};
// "Send me what you hold of these slots." Asked of the other replicas in the sender's view, and of those in the view
// before; whoever answers is in the sender's view, and so has sealed what was before it.
struct SyncRequest {
  uint64_t cursor = 0;  // a slot: which of them are you in sync for, from there on? Then the `next` of each answer
  uint32_t boot = 0;    // the asker's
  std::vector<SlotRange> slots;
};
inline constexpr uint64_t kSyncRecordsCursor = 65'536;  // from here on a cursor stands for records
struct SyncChunk {
  struct Placed {
    Record record;
    bool born_new = false;
    bool operator==(const Placed&) const = default;
  };
  uint32_t boot = 0;     // the answerer's: when it changes, the asker starts over
  uint64_t cursor = 0;   // of the request
  uint64_t next = 0;     // ask with this; 0: that was all
  bool expects = false;  // the sender is out of sync somewhere until a hand-over that it waits for
  // At a slot: where the sender's word does not count, of cursor..next-1; a bit each from first_slot on, lowest first.
  uint16_t first_slot = 0;
  std::vector<uint8_t> out_of_sync;
  std::vector<uint8_t> lacking;  // the same, of the view before
  std::vector<Record> records;   // held
  std::vector<Placed> placed;    // placed only: perhaps held elsewhere
};

// --- to holders and owners ---
// A proxy's cache entry after a leaseless change: version, and what it becomes. Acknowledged with Ack.
struct Purge {
  SessionKey key;
  GroupId group;
  Version version;
  RecordState state;
  uint32_t remaining_ms;
};
// insertAndForward's end: the ingress proxy's cache entry, and the member's reply for the client.
struct Entry {
  SessionKey key;
  GroupId group;
  Target target = Target::member;
  MemberId member;
  Version version;
  uint32_t lease_ms = 0;
  uint64_t lease_bytes = 0;
  Stamp echo;  // newest of the receiver's that the sender has seen; the lease counts from it
  Bytes packet;
};
// The owner is told what became of its mapping. Acknowledged with Ack.
struct Notice {
  uint32_t handle;
  Version version;
  RecordState state;
  uint32_t remaining_ms;
};
struct Ack {};  // same request number

// --- replica to replica, now and then ---
// What the sender holds of the slots first..last that both replicate, as many parts as digests, equally large: of each
// the XOR of its slots' digests (Store::digest). Where the receiver's differs it answers with that part in parts.
struct SlotDigests {
  uint16_t first = 0, last = 0;
  std::vector<uint64_t> digests;
};
inline constexpr size_t kDigestsMax = 64;  // of one message
// Into how many digests these slots go: the most of which there is a whole number of slots in each.
constexpr size_t digest_parts(uint16_t first, uint16_t last) {
  const size_t slots = last - first + 1u;
  return slots % kDigestsMax == 0 ? kDigestsMax : slots <= kDigestsMax ? slots : 1;
}

// --- proxy to replica, under pressure: what sessions there are (node_summary.cc, summaries.h) ---
// "I have all up to `number` of your summary `version`." Answered with SummaryDeltas from there on; with the blocks
// from `block` on where those are asked for, or where that summary is no more.
struct SummaryRequest {
  static constexpr uint32_t kNoBlock = UINT32_MAX;
  uint32_t version = 0;  // 0: none
  uint32_t block = kNoBlock;
  uint64_t number = 0;
};
// Blocks of the sender's SessionFilter.
struct SummaryBlocks {
  uint32_t version = 0;
  uint32_t of = 0;      // blocks in all
  uint32_t first = 0;   // the first of these
  uint64_t number = 0;  // sessions numbered up to this are in them
  Bytes blocks;         // SessionFilter::kBlockBytes each
};
// Sessions that have come since, in the order of their numbers.
struct SummaryDelta {
  uint32_t version = 0;                // 0: there is no summary yet, ask again
  uint64_t first = 0;                  // number of the first of `sessions`, from 1
  uint64_t last = 0;                   // number of the newest one that the sender has
  std::vector<uint64_t> sessions;      // upper halves of their keys
  std::vector<SlotRange> out_of_sync;  // the sender's word does not count there; the rest is filler
};
inline constexpr size_t kSummaryBlocksMax = 20;    // of one message
inline constexpr size_t kSummarySessionsMax = 94;  // the same
inline constexpr size_t kSummaryWindow = 8;        // messages of one answer

// For who verifies: what do you hold of the slots first..last that `with` holds, too? Without what is half-open: that
// comes and goes, and is told twice over.
struct Audit {
  uint16_t first = 0, last = 0;
  ProxyId with;
  uint32_t place = 0;  // where first = last and `listed`: its records, from this place of your store on
  bool listed = false;
};
struct AuditAnswer {
  struct Entry {
    SessionKey key;
    RecordState state = RecordState::established;
    NodeId owner;
    Version version;
    bool operator==(const Entry&) const = default;
  };
  bool in_sync = false;           // in all of these
  uint32_t next = 0;              // listed: ask with this place; 0: that was all
  std::vector<uint64_t> digests;  // else, of parts as in SlotDigests
  std::vector<Entry> entries;     // listed
};
inline constexpr size_t kAuditEntriesMax = 32;

using MessageBody =
    std::variant<Query, QueryAnswer, Insert, InsertAnswer, Remove, Revoke, Unrevoke, RequestAnswer, Refresh,
                 RefreshAnswer, Place, PlaceAck, Held, Withdraw, Change, ChangeAck, HoldersSilent, Heartbeat, Permit,
                 SyncRequest, SyncChunk, Purge, Entry, Notice, Ack, SlotDigests, SummaryRequest, SummaryBlocks,
                 SummaryDelta, RefreshDigest, RefreshDifference, Audit, AuditAnswer>;
struct Message {
  MessageHeader header;
  MessageBody body;
};
// Number on the wire = index in MessageBody + 0x20 (0x01..0x1f belong to the envelope's own hello and path messages).
// New messages go to the end; docs/wire-format.md reserves numbers for those that are to come.
inline constexpr uint8_t kMessageTypeFirst = 0x20;
template <class Body>
consteval uint8_t message_type() {
  return []<class... B>(std::variant<B...>*) {
    uint8_t index = 0;
    (void)((std::is_same_v<Body, B> || (++index, false)) || ...);
    return static_cast<uint8_t>(kMessageTypeFirst + index);
  }(static_cast<MessageBody*>(nullptr));
}

// REQUIRES: lists and packet within the bounds above. Breaking one is a bug of the caller's and gives an empty vector,
// which nobody sends; the tests of the caller see it.
std::vector<uint8_t> encode(const MessageHeader& header, const MessageBody& body);
// The same into `out`, of kEncodedRoom bytes, for one kind of body: without allocation. 0 for what would be empty.
template <class Body>
size_t encode_as(const MessageHeader& header, const Body& body, MutableBytes out);
// Strict: exact length, known numbers only, IDs in range, no bytes left over; nullopt otherwise.
std::optional<Message> decode(Bytes bytes);
// The same over what stood in `message`; false otherwise, and then anything stands there.
bool decode(Bytes bytes, Message& message);
const char* message_name(const MessageBody& body);  // "query", "insert_answer", ...

// What a sans-IO machine wants sent.
struct DirectoryOutput {
  NodeId to;
  std::vector<uint8_t> message;
};

}  // namespace statecast
