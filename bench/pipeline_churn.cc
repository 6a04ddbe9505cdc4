// SPDX-License-Identifier: BSD-3-Clause
#include "bench/pipeline_churn.h"

#include <algorithm>

namespace statecast::bench {

namespace {
constexpr unsigned kAtOnce = 64;
constexpr Duration kSweepRound = 5s;
}  // namespace

Churn::Churn(Fleet& fleet, const ChurnRates& rates, uint64_t seed)
    : fleet_(fleet), rates_(rates), rng_(seed), start_(MonotonicClock::now()), swept_(start_) {}

double Churn::seconds() const {
  return std::chrono::duration<double>(MonotonicClock::now() - start_).count();
}

void Churn::turn() {
  const Instant now = MonotonicClock::now();
  const double t = seconds();
  // Some of what is due, so that none of the three waits for the others.
  for (unsigned i = 0; i < kAtOnce && done_.revocations < rates_.revocations * t; ++i) revoke(now);
  for (unsigned i = 0; i < kAtOnce && done_.inserts < rates_.inserts * t; ++i) insert(now);
  if (done_.renewals < rates_.renewals * t) renew(now);
  const auto part = std::chrono::duration<double>(now - swept_) / std::chrono::duration<double>(kSweepRound);
  const auto slots = static_cast<size_t>(part * double(fleet_.cache().slots()));
  if (slots >= kAtOnce) {
    fleet_.cache().sweep(std::min<size_t>(slots, 16 * kAtOnce), now);
    swept_ = now;
  }
}

// Sessions of one packet, as far as the cache can tell: nobody sends on them.
void Churn::insert(Instant now) {
  const SessionKey key{rng_.next(), rng_.next()};
  CacheEntry e = fleet_.lease(static_cast<uint32_t>(rng_.below(fleet_.options().sessions)), now);
  e.ends = now + 10s;
  fleet_.cache().put(key, e, now);
  ++done_.inserts;
}

// Also an insert where the session was evicted.
void Churn::renew(Instant now) {
  uint32_t n[kAtOnce];
  SessionKey keys[kAtOnce];
  for (uint32_t& s : n) s = static_cast<uint32_t>(rng_.below(fleet_.options().sessions));
  fleet_.keys(n, kAtOnce, keys);
  for (unsigned i = 0; i < kAtOnce; ++i) fleet_.cache().put(keys[i], fleet_.lease(n[i], now), now);
  done_.renewals += kAtOnce;
}

// Of sessions that nobody sends on, so that the forwarded share stays what it is.
void Churn::revoke(Instant now) {
  const SessionKey key{rng_.next(), rng_.next()};
  CacheEntry e = fleet_.lease(0, now);
  e.target = CacheTarget::drop;
  e.ends = now + 2s;
  fleet_.cache().put(key, e, now);
  ++done_.revocations;
}

}  // namespace statecast::bench
