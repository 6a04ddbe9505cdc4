// SPDX-License-Identifier: BSD-3-Clause
// A slot is named dead before its key leaves the hash, and its position is used again only when every reader has been
// quiescent since, so a reader that still holds the position meets a dead word and never another session's.
#include "dataplane/cache/rte_table.h"

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace statecast {
namespace {

// The session key is a keyed hash already, so some of its bits are the table's hash. Of the low half: the top 16 bits
// of the high one are the slot of the directory, and a proxy may see few of those.
inline hash_sig_t key_bits(const SessionKey& key) {
  return static_cast<hash_sig_t>(key.low);
}
static_assert(sizeof(SessionKey) == 16);
uint32_t hash_function(const void* key, uint32_t, uint32_t) {
  SessionKey k;
  std::memcpy(&k, key, sizeof k);
  return key_bits(k);
}
size_t dpdk_bytes() {
  size_t sum = 0;
  for (int socket = 0; socket < RTE_MAX_NUMA_NODES; ++socket) {
    rte_malloc_socket_stats s;
    if (rte_malloc_get_socket_stats(socket, &s) == 0) sum += s.heap_allocsz_bytes;
  }
  return sum;
}

}  // namespace

Result<void> RteTable::create(const SessionCacheOptions& options) {
  if (options.sessions > RTE_HASH_ENTRIES_MAX / 4 || options.negative > RTE_HASH_ENTRIES_MAX / 4) {
    return fail(Code::invalid, "session cache: more entries than rte_hash takes");
  }
  static std::atomic<uint32_t> made{0};
  const std::string name = "session_cache_" + std::to_string(made.fetch_add(1));
  // Beyond what may be in use: slots whose keys have gone but which a reader may still look at.
  const uint32_t waiting = std::clamp<uint32_t>(options.sessions / 8, 64, 16'384);
  const uint32_t slots = options.sessions + options.negative + waiting;
  const size_t before = dpdk_bytes();

  rte_hash_parameters p{};
  p.name = name.c_str();
  p.entries = slots;
  p.key_len = sizeof(SessionKey);
  p.hash_func = hash_function;
  p.socket_id = SOCKET_ID_ANY;
  // Extendable buckets: an insert fails for want of slots only, never for want of a place near its hash.
  p.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
  hash_ = rte_hash_create(&p);
  if (!hash_) return fail(Code::system, "session cache: rte_hash_create: " + std::string(rte_strerror(rte_errno)));
  rcu_ = static_cast<rte_rcu_qsbr*>(
      rte_zmalloc(name.c_str(), rte_rcu_qsbr_get_memsize(options.readers), RTE_CACHE_LINE_SIZE));
  if (!rcu_ || !hot_.allocate(slots)) {
    return fail(Code::system, "session cache: no memory for " + std::to_string(slots) + " slots; raise memory_mb");
  }
  rte_rcu_qsbr_init(rcu_, options.readers);
  hash_bytes_ = dpdk_bytes() - before;
  return {};
}

RteTable::~RteTable() {
  rte_hash_free(hash_);
  rte_free(rcu_);
}

void RteTable::register_reader(unsigned reader) {
  rte_rcu_qsbr_thread_register(rcu_, reader);
  rte_rcu_qsbr_thread_online(rcu_, reader);
}
void RteTable::unregister_reader(unsigned reader) {
  rte_rcu_qsbr_thread_offline(rcu_, reader);
  rte_rcu_qsbr_thread_unregister(rcu_, reader);
}

void RteTable::lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, const Spender& spend, CacheHit out[]) {
  const void* key_at[kCacheBurstMax];
  hash_sig_t bits[kCacheBurstMax];
  int32_t slots[kCacheBurstMax];
  for (size_t i = 0; i < n; ++i) {
    key_at[i] = &keys[i];
    bits[i] = key_bits(keys[i]);
  }
  rte_hash_lookup_with_hash_bulk(hash_, key_at, bits, uint32_t(n), slots);
  for (size_t i = 0; i < n; ++i) {
    if (slots[i] >= 0) rte_prefetch0(&hot_[uint32_t(slots[i])]);
  }
  for (size_t i = 0; i < n; ++i) {
    if (slots[i] < 0) {
      out[i] = {};
      continue;
    }
    Hot& hot = hot_[uint32_t(slots[i])];
    auto marks_of = [&](uint32_t& marks) {
      marks = hot.marks.load(std::memory_order_relaxed);
      return true;
    };
    if (spend(hot.word, bytes[i], marks_of, out[i]) != Spent::done) out[i] = {};
  }
}

int64_t RteTable::find(const SessionKey& key) const {
  return rte_hash_lookup_with_hash(hash_, &key, key_bits(key));
}

int64_t RteTable::insert(const SessionKey& key, SlotMoves& moves) {
  moves.n = 0;
  return rte_hash_add_key_with_hash(hash_, &key, key_bits(key));
}

void RteTable::erase(uint32_t slot) {
  std::atomic<uint64_t>& w = hot_[slot].word;
  w.store(dead_word(w.load(std::memory_order_relaxed)), std::memory_order_release);
  void* at = nullptr;
  SessionKey key;
  if (rte_hash_get_key_with_position(hash_, int32_t(slot), &at) != 0) return;
  std::memcpy(&key, at, sizeof key);
  rte_hash_del_key_with_hash(hash_, &key, key_bits(key));
  freed_.push_back({int32_t(slot), rte_rcu_qsbr_start(rcu_)});
}

void RteTable::reclaim() {
  while (!freed_.empty() && rte_rcu_qsbr_check(rcu_, freed_.front().token, false) == 1) {
    rte_hash_free_key_with_position(hash_, freed_.front().slot);
    freed_.pop_front();
  }
}

}  // namespace statecast
