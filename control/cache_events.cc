// SPDX-License-Identifier: BSD-3-Clause
#include "control/cache_events.h"

#include <algorithm>

namespace statecast {

namespace {

constexpr Duration kUnavailableMax = 1s, kAskAgain = 1s;

}  // namespace

void apply_to_cache(SessionCache& cache, const CacheEvent& e, Duration negative, Instant now) {
  CacheEntry entry;
  entry.group = e.group;
  entry.member = e.member;
  entry.version = e.version;
  entry.ends = e.lease_ends;
  entry.bytes = e.lease_bytes;
  switch (e.kind) {
    case CacheEvent::Kind::lease:
      entry.target = e.target == Target::member ? CacheTarget::member
                     : e.target == Target::drop ? CacheTarget::drop
                                                : CacheTarget::stateless;
      cache.put(e.key, entry, now);
      return;
    case CacheEvent::Kind::tombstone:
      entry.target = CacheTarget::drop;
      entry.bytes = kUnlimitedBytes;
      cache.put(e.key, entry, now);
      return;
    case CacheEvent::Kind::none:
      entry.target = CacheTarget::negative;
      entry.ends = now + negative;
      cache.put(e.key, entry, now);
      return;
    case CacheEvent::Kind::no_bytes:
      entry.bytes = 0;
      cache.put(e.key, entry, now);
      return;
    case CacheEvent::Kind::unavailable:
      entry.target = CacheTarget::unavailable;
      entry.ends = std::min(e.lease_ends, now + kUnavailableMax);
      cache.put(e.key, entry, now);
      return;
    case CacheEvent::Kind::purge: cache.remove_if_not_newer(e.key, e.version, now); return;
    case CacheEvent::Kind::unanswered: return ask_again_later(cache, e.key, now);
    case CacheEvent::Kind::packet: return;
  }
}

// No bytes and no time are added, but the cache asks again at half of what is given here.
void ask_again_later(SessionCache& cache, const SessionKey& key, Instant now) {
  auto entry = cache.find(key, now);
  if (!entry || (entry->target != CacheTarget::member && entry->target != CacheTarget::stateless)) return;
  entry->bytes = 0;
  entry->ends = now + kAskAgain;
  cache.put(key, *entry, now);
}

void forget_negative(SessionCache& cache, Bytes message, const std::function<const GroupSecret*(GroupId)>& secret_of) {
  if (message.empty() || cache.stats().negative == 0) return;
  if (message[0] != message_type<Insert>() && message[0] != message_type<Place>() && message[0] != message_type<Held>())
    return;
  auto m = decode(message);
  if (!m) return;
  if (auto* insert = std::get_if<Insert>(&m->body)) {
    if (auto* secret = secret_of(insert->id.group())) cache.remove_negative(session_key(insert->id, *secret));
  } else if (auto* place = std::get_if<Place>(&m->body)) {
    cache.remove_negative(place->record.key);
  } else if (auto* held = std::get_if<Held>(&m->body)) {
    cache.remove_negative(held->key);
  }
}

}  // namespace statecast
