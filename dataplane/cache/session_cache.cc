// SPDX-License-Identifier: BSD-3-Clause
// Which table it is is decided once, at create(); from then on a call goes to the ledger over that table.
#include "dataplane/cache/session_cache.h"

#include "dataplane/cache/session_ledger.h"

namespace statecast {

SessionCache::SessionCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
SessionCache::~SessionCache() = default;

Result<std::unique_ptr<SessionCache>> SessionCache::create(const SessionCacheOptions& options) {
  if (options.sessions == 0 || options.sessions > UINT32_MAX / 4 || options.negative > kNegativeMax ||
      options.readers == 0) {
    return fail(Code::invalid, "session cache: sessions, negative entries or readers out of range");
  }
  std::unique_ptr<State> state;
  switch (options.table) {
    case SessionTable::lines: state = std::make_unique<SessionLedger<LineTable>>(options); break;
    case SessionTable::rte_hash: state = std::make_unique<SessionLedger<RteTable>>(options); break;
  }
  if (auto made = state->create(); !made) return fail(made.error());
  return std::unique_ptr<SessionCache>(new SessionCache(std::move(state)));
}

void SessionCache::register_reader(unsigned reader) {
  state_->register_reader(reader);
}
void SessionCache::unregister_reader(unsigned reader) {
  state_->unregister_reader(reader);
}
void SessionCache::quiescent(unsigned reader) {
  state_->quiescent(reader);
}
void SessionCache::prefetch(const SessionKey keys[], size_t n) const {
  state_->prefetch(keys, n);
}
void SessionCache::lookup(const SessionKey keys[], const uint32_t bytes[], size_t n, Instant now, CacheHit out[]) {
  state_->lookup(keys, bytes, n, now, out);
}
bool SessionCache::put(const SessionKey& key, const CacheEntry& entry, Instant now) {
  return state_->put(key, entry, now);
}
bool SessionCache::remove_if_not_newer(const SessionKey& key, const Version& version, Instant now,
                                       Tombstones tombstones) {
  return state_->remove_if_not_newer(key, version, now, tombstones);
}
bool SessionCache::remove_negative(const SessionKey& key) {
  return state_->remove_negative(key);
}
bool SessionCache::refill(const SessionKey& key, Instant now) {
  return state_->refill(key, now);
}
std::optional<CacheEntry> SessionCache::find(const SessionKey& key, Instant now) const {
  return state_->find(key, now);
}
size_t SessionCache::sweep(size_t count, Instant now) {
  return state_->sweep(count, now);
}
size_t SessionCache::slots() const {
  return state_->slots();
}
size_t SessionCache::memory_bytes() const {
  return state_->memory_bytes();
}
SessionCache::Stats SessionCache::stats() const {
  return state_->stats();
}

}  // namespace statecast
