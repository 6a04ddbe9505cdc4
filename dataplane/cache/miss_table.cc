// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cache/miss_table.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace statecast {

Result<std::unique_ptr<MissTable>> MissTable::create(const MissTableOptions& options) {
  if (options.packets == 0 || options.packets > (1u << 24) || options.packets_per_group == 0) {
    return fail(Code::invalid, "miss table: packets must be 1..16777216, packets per group at least 1");
  }
  return std::unique_ptr<MissTable>(new MissTable(options));
}

MissTable::MissTable(const MissTableOptions& options)
    : options_(options),
      sessions_(options.packets),
      groups_(options.packets),
      session_buckets_(std::bit_ceil(size_t(options.packets)), kNone),
      group_buckets_(std::bit_ceil(std::min<size_t>(options.packets, 16'384)), kNone) {
  for (uint32_t i = options.packets; i-- > 0;) {
    sessions_[i].next = free_session_;
    free_session_ = i;
    groups_[i].next = free_group_;
    free_group_ = i;
  }
}

uint32_t MissTable::find_session(const SessionKey& key) {
  uint32_t s = *session_bucket(key);
  while (s != kNone && sessions_[s].key != key) s = sessions_[s].next;
  return s;
}

uint32_t MissTable::find_group(GroupId id) {
  uint32_t g = *group_bucket(id);
  while (g != kNone && groups_[g].id != id) g = groups_[g].next;
  return g;
}

uint32_t MissTable::add_group(GroupId id) {
  uint32_t* bucket = group_bucket(id);
  const uint32_t g = free_group_;
  free_group_ = groups_[g].next;
  groups_[g] = {id, 0, *bucket};
  *bucket = g;
  return g;
}

void MissTable::leave_group(uint32_t group, uint32_t packets) {
  groups_[group].packets -= packets;
  packets_ -= packets;
  if (groups_[group].packets != 0) return;
  uint32_t* at = group_bucket(groups_[group].id);
  while (*at != group) at = &groups_[*at].next;
  *at = groups_[group].next;
  groups_[group].next = free_group_;
  free_group_ = group;
}

Hold MissTable::hold(const SessionKey& key, GroupId group, rte_mbuf* packet, uint32_t bytes, Instant now) {
  if (packets_ == options_.packets || bytes > kMissBytesPerSession) return Hold::full;
  // The group first: under a flood of unknown sessions it is full, and the session's place is far away.
  uint32_t g = find_group(group);
  if (g != kNone && groups_[g].packets >= options_.packets_per_group) return Hold::full;
  if (const uint32_t s = find_session(key); s != kNone) {
    Session& session = sessions_[s];
    if (session.count == kMissPacketsPerSession || session.bytes + bytes > kMissBytesPerSession) return Hold::full;
    session.packets[session.count++] = packet;
    session.bytes += bytes;
    ++groups_[session.group].packets;
    ++packets_;
    return Hold::held;
  }
  if (g == kNone) g = add_group(group);
  const uint32_t s = free_session_;
  free_session_ = sessions_[s].next;
  uint32_t* bucket = session_bucket(key);
  sessions_[s] = {.key = key,
                  .since = now,
                  .packets = {packet},
                  .group = g,
                  .next = *bucket,
                  .older = newest_,
                  .newer = kNone,
                  .bytes = bytes,
                  .count = 1};
  *bucket = s;
  (newest_ == kNone ? oldest_ : sessions_[newest_].newer) = s;
  newest_ = s;
  ++groups_[g].packets;
  ++packets_;
  ++sessions_in_use_;
  return Hold::first;
}

size_t MissTable::take(uint32_t s, rte_mbuf* out[]) {
  Session& session = sessions_[s];
  const size_t n = session.count;
  std::copy_n(session.packets, n, out);
  leave_group(session.group, session.count);

  uint32_t* at = session_bucket(session.key);
  while (*at != s) at = &sessions_[*at].next;
  *at = session.next;
  (session.older == kNone ? oldest_ : sessions_[session.older].newer) = session.newer;
  (session.newer == kNone ? newest_ : sessions_[session.newer].older) = session.older;
  session.next = free_session_;
  free_session_ = s;
  --sessions_in_use_;
  return n;
}

rte_mbuf* MissTable::lend_first(const SessionKey& key) {
  return std::exchange(sessions_[find_session(key)].packets[0], nullptr);
}

size_t MissTable::release(const SessionKey& key, rte_mbuf* out[kMissPacketsPerSession]) {
  const uint32_t s = find_session(key);
  return s == kNone ? 0 : take(s, out);
}

size_t MissTable::expire(Instant older_than, rte_mbuf* out[], size_t n) {
  size_t taken = 0;
  while (oldest_ != kNone && sessions_[oldest_].since <= older_than && taken + sessions_[oldest_].count <= n) {
    taken += take(oldest_, out + taken);
  }
  return taken;
}

}  // namespace statecast
