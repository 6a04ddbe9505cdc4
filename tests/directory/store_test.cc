// SPDX-License-Identifier: BSD-3-Clause
// The store against a slow twin over random histories: a std::map of whole records. The twin knows nothing of lines,
// places, wheels or indexes; what it shares with the store is the length of a tick, and which way times are rounded. A
// failure prints the seed; STATECAST_SEED=n runs that history again, STATECAST_RUNS=n so many from there on.
#include "directory/store.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/rng.h"

namespace statecast {
namespace {

constexpr Instant kStart{3000h};
constexpr Duration kTick{1024};
constexpr Duration kBucket = kTick * 8192;  // an end is noticed so late at most

Instant down(Instant t) {
  return kStart + (t - kStart) / kTick * kTick;
}
Instant up(Instant t) {
  return down(t) < t ? down(t) + kTick : t;
}

struct TwinRecord {
  Record record;
  Instant expires;
  ByteShare share;
  std::map<ProxyId, Holder> holders;
  std::optional<HandleKey> handle;  // by which it is found
};

class History {
 public:
  explicit History(uint64_t seed) : rng_(seed), store_(rng_.next(), kStart, 1000) {
    for (auto& k : keys_) {
      k = {rng_.next(), rng_.next()};
      if (rng_.chance(0.5)) k.low = keys_[0].low;  // equal hashes
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      step();
      compare();
    }
    finish();
  }

 private:
  Duration some_time(Duration most) { return Duration(static_cast<int64_t>(rng_.below(uint64_t(most.count())))); }
  SessionKey some_key() { return keys_[rng_.below(std::size(keys_))]; }
  TwinRecord* live(const SessionKey& key) {
    auto it = twin_.find(key);
    return it != twin_.end() && it->second.expires > now_ ? &it->second : nullptr;
  }

  Record some_record(const SessionKey& key, const TwinRecord* before) {
    const MemberId member{1 + static_cast<uint32_t>(rng_.below(3))};
    Record r{
        .key = key,
        .group = {1 + static_cast<uint32_t>(rng_.below(kId24Max))},
        .state = RecordState(1 + rng_.below(5)),
        .target = Target(1 + rng_.below(3)),
        .member = member,
        .owner = rng_.chance(0.9) ? NodeId::member(member) : NodeId::op(),
        .version = {static_cast<uint16_t>(rng_.below(3)), 1 + static_cast<uint32_t>(rng_.below(2)), rng_.below(20)},
        .handle = static_cast<uint32_t>(rng_.below(6)),
        .bucket_bytes = rng_.chance(0.6) ? kUnlimitedBytes : rng_.below(1000),
        .bucket_counter = rng_.next() >> 24};
    if (rng_.chance(0.2)) r.version = {0xffff, kId24Max, rng_.next() >> 24};
    if (before && rng_.chance(0.7)) {  // what follows a record, mostly: the same owner's, a little later
      const RecordState state = r.state;
      r = before->record;
      r.state = state;
      r.version.counter = (r.version.counter + rng_.below(rng_.chance(0.8) ? 3 : 200'000)) & ((1ull << 40) - 1);
    }
    return r;
  }

  void put() {
    const SessionKey key = some_key();
    TwinRecord* t = live(key);
    Record r = some_record(key, t);
    // Of one that is over the store may still know the handle: no tombstone follows it.
    if (!t && twin_.contains(key) && is_tombstone(r.state)) r.state = RecordState::established;
    const Instant expires = now_ + kTick + some_time(rng_.chance(0.9) ? 200s : Duration(400h));
    StoredRecord s = store_.put(r, expires);
    if (!t) {
      s.take_holders();  // those of one that is over, too
      if (ByteShare* share = s.share()) *share = {};
      if (auto old = twin_.find(key); old != twin_.end()) forget_handle(key);
      t = &(twin_[key] = {});
    }
    if (r.bucket_bytes == kUnlimitedBytes || t->record.bucket_bytes == kUnlimitedBytes) t->share = {};
    t->record = r;
    t->expires = down(expires);
    if (!is_tombstone(r.state)) {
      forget_handle(key);
      if (r.owner.is_member()) {
        t->handle = {r.owner, r.version.incarnation, r.handle};
        if (auto other = by_handle_.find(handle_key(*t->handle)); other != by_handle_.end())
          twin_.at(other->second).handle.reset();
        by_handle_[handle_key(*t->handle)] = key;
      }
    }
    ASSERT_EQ(s.key(), key);
  }
  using HandleTuple = std::tuple<NodeId, uint32_t, uint32_t>;
  static HandleTuple handle_key(const HandleKey& h) { return {h.owner, h.incarnation, h.handle}; }
  void forget_handle(const SessionKey& key) {
    auto& handle = twin_.at(key).handle;
    if (handle) by_handle_.erase(handle_key(*handle));
    handle.reset();
  }

  void change() {
    const SessionKey key = some_key();
    TwinRecord* t = live(key);
    StoredRecord s = store_.find(key, now_);
    ASSERT_EQ(bool(s), t != nullptr);
    if (!t) return;
    switch (rng_.below(5)) {
      case 0: {
        const Instant expires = rng_.chance(0.1) ? now_ : now_ + some_time(rng_.chance(0.9) ? 200s : Duration(400h));
        store_.set_expires(s, expires);
        t->expires = down(expires);
        return;
      }
      case 1: {
        Version v = t->record.version;
        if (rng_.chance(0.2)) v = {0, 0, rng_.below(1000)};
        const Holder h{{1 + static_cast<uint32_t>(rng_.below(4))}, now_ + some_time(20s), v};
        s.hold(h, now_);
        auto& mine = t->holders[h.proxy];
        mine = {h.proxy, std::max(up(h.until), mine.until), v};
        std::erase_if(t->holders, [&](const auto& o) { return o.second.until <= now_; });
        return;
      }
      case 2:
        s.take_holders();
        t->holders.clear();
        return;
      case 3: {
        const uint64_t bytes = rng_.chance(0.5) ? kUnlimitedBytes : rng_.below(1000), counter = rng_.next() >> 24;
        s.set_bucket(bytes, counter, bytes / 3);
        t->record.bucket_bytes = bytes;
        t->record.bucket_counter = counter;
        t->share = {.left = bytes == kUnlimitedBytes ? 0 : bytes / 3};
        return;
      }
      default:
        if (ByteShare* share = s.share()) {
          *share = t->share = {.left = rng_.below(100), .grant_bytes = rng_.below(50), .granted_at = now_};
        }
    }
  }

  void step() {
    switch (rng_.below(8)) {
      case 0: now_ += some_time(rng_.chance(0.9) ? Duration(5s) : Duration(150s)); return;
      case 1: store_.expire(now_); return;
      case 2:
      case 3: return put();
      default: return change();
    }
  }

  void same(StoredRecord s, const TwinRecord& t) {
    ASSERT_EQ(s.record(), t.record);
    ASSERT_EQ(s.expires(), t.expires);
    ASSERT_TRUE(s.is(t.record));
    ASSERT_EQ(s.share() != nullptr, t.record.bucket_bytes != kUnlimitedBytes);
    if (const ByteShare* share = s.share()) {
      ASSERT_EQ(share->left, t.share.left);
      ASSERT_EQ(share->grant_bytes, t.share.grant_bytes);
      ASSERT_EQ(share->granted_at, t.share.granted_at);
    }
    // Those whose time is over are there or not.
    std::map<ProxyId, Holder> theirs, mine;
    for (const Holder& h : s.holders()) {
      if (h.until <= now_) continue;
      ASSERT_TRUE(theirs.emplace(h.proxy, h).second);
    }
    for (const auto& [p, h] : t.holders) {
      if (h.until > now_) mine.emplace(p, h);
    }
    ASSERT_EQ(theirs, mine);
    ASSERT_GE(s.holder_count(), mine.size());
    for (const auto& [p, h] : mine) ASSERT_GE(s.held_until(), h.until);
  }

  void compare() {
    size_t alive = 0, tombstones = 0;
    for (const SessionKey& key : keys_) {
      const TwinRecord* t = live(key);
      StoredRecord s = store_.find(key, now_);
      ASSERT_EQ(bool(s), t != nullptr);
      if (!t) continue;
      same(s, *t);
      ++alive;
      tombstones += is_tombstone(t->record.state);
    }
    for (uint32_t member = 1; member <= 3; ++member) {
      for (uint32_t incarnation : {1u, 2u, kId24Max}) {
        for (uint32_t handle = 0; handle < 6; ++handle) {
          const HandleKey h{NodeId::member({member}), incarnation, handle};
          auto it = by_handle_.find(handle_key(h));
          const TwinRecord* t = it == by_handle_.end() ? nullptr : live(it->second);
          StoredRecord s = store_.find_handle(h.owner, h.incarnation, h.handle, now_);
          ASSERT_EQ(bool(s), t != nullptr);
          if (!t) continue;
          ASSERT_EQ(s.key(), it->second);
        }
      }
    }
    // What is over may still be counted, but none of it is met on a walk.
    ASSERT_GE(store_.size(), alive);
    ASSERT_GE(store_.tombstones(), tombstones);
    std::set<SessionKey> walked;
    for (size_t i = 0; i < store_.places(); ++i) {
      if (StoredRecord s = store_.at(i, now_)) { ASSERT_TRUE(walked.insert(s.key()).second); }
    }
    ASSERT_EQ(walked.size(), alive);
    ASSERT_LE(store_.places(), std::size(keys_));
  }

  // All that is over goes within a bucket's time, and what stays is as if there had never been anything else.
  void finish() {
    now_ += 100ms;
    while (store_.next_expiry() <= now_) store_.expire(now_);
    Store fresh(rng_.next(), kStart, 1000);
    size_t alive = 0, late = 0;
    for (const auto& [key, t] : twin_) {
      if (t.expires > now_ - kBucket) {
        ++(t.expires > now_ ? alive : late);
        fresh.put(t.record, t.expires);
      }
    }
    ASSERT_GE(store_.size(), alive);
    ASSERT_LE(store_.size(), alive + late);
    if (late > 0) return;
    ASSERT_EQ(store_.tombstones(), fresh.tombstones());
    for (const SessionKey& key : keys_) ASSERT_EQ(store_.digest(key.slot()), fresh.digest(key.slot()));
  }

  Rng rng_;
  Instant now_ = kStart + 1ns;
  Store store_;
  SessionKey keys_[40];
  std::map<SessionKey, TwinRecord> twin_;
  std::map<HandleTuple, SessionKey> by_handle_;
};

uint64_t number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(StoreTest, AgreesWithItsTwinOverRandomHistories) {
  const uint64_t first = number("STATECAST_SEED", 1);
  const uint64_t runs = number("STATECAST_RUNS", std::getenv("STATECAST_SEED") ? 1 : 150);
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    History(seed).run(600);
    ASSERT_FALSE(HasFailure()) << "STATECAST_SEED=" << seed;
  }
}

Record mapping(uint32_t n, uint64_t salt = 0) {
  Rng rng(n * 0x10001ull + salt);
  return {.key = {rng.next(), rng.next()},
          .group = {1},
          .state = RecordState::established,
          .member = {1 + n % 7},
          .owner = NodeId::member({1 + n % 7}),
          .version = {1, 1, n},
          .handle = n,
          .bucket_bytes = kUnlimitedBytes,
          .bucket_counter = n};
}

// Far beyond a table's first size; looked for all along while the tables grow.
TEST(StoreTest, GrowsWithoutLosingAny) {
  constexpr uint32_t kMany = 300'000;
  Store store(5, kStart, kMany);
  Rng rng(1);
  for (uint32_t n = 0; n < kMany; ++n) {
    store.put(mapping(n), kStart + 60s);
    for (uint32_t some : {n, static_cast<uint32_t>(rng.below(n + 1))}) {
      StoredRecord s = store.find(mapping(some).key, kStart);
      ASSERT_TRUE(s) << some << " of " << n;
      ASSERT_EQ(s.handle(), some);
      const NodeId owner = mapping(some).owner;
      StoredRecord by_handle = store.find_handle(owner, 1, some, kStart);
      ASSERT_TRUE(by_handle) << some << " of " << n;
      ASSERT_EQ(by_handle.key(), s.key());
      ASSERT_FALSE(store.find(mapping(some, 1).key, kStart));
    }
  }
  EXPECT_EQ(store.size(), kMany);
}

// Many that end together are taken away some at a time, and the place of each is used again.
TEST(StoreTest, ExpiryIsABoundedPieceOfWork) {
  constexpr uint32_t kMany = 20'000;
  Store store(5, kStart, kMany);
  for (int round = 0; round < 3; ++round) {
    Instant now = kStart + round * 1h;
    store.expire(now);
    for (uint32_t n = 0; n < kMany; ++n) store.put(mapping(n, round), now + 60s);
    ASSERT_EQ(store.size(), kMany);
    ASSERT_EQ(store.places(), kMany);
    EXPECT_GT(store.next_expiry(), now + 60s - kTick);
    EXPECT_LE(store.next_expiry(), now + 60s + kBucket);
    now = store.next_expiry();
    for (size_t before = store.size(), calls = 0; before > 0; before = store.size(), ++calls) {
      ASSERT_LE(store.next_expiry(), now);
      store.expire(now);
      ASSERT_LT(store.size(), before);
      ASSERT_LE(before - store.size(), 512u);
      ASSERT_LT(calls, kMany / 100);
    }
    EXPECT_EQ(store.next_expiry(), Instant::max());
    for (unsigned slot = 0; slot < 65'536; ++slot) ASSERT_EQ(store.digest({static_cast<uint16_t>(slot)}), 0u);
  }
}

// A record that is put off goes on being the one looked at once; one that is brought forward ends then.
TEST(StoreTest, AnEndCanBeMovedBothWays) {
  Store store(5, kStart, 10);
  StoredRecord s = store.put(mapping(1), kStart + 10s);
  store.set_expires(s, kStart + 30 * 24h);
  for (Instant now = kStart + 1h; now < kStart + 29 * 24h; now += 1h) {
    while (store.next_expiry() <= now) store.expire(now);
    ASSERT_EQ(store.size(), 1u);
  }
  const Instant now = kStart + 29 * 24h;
  store.set_expires(s, now + 1s);
  EXPECT_LE(store.next_expiry(), now + 1s + kBucket);
  store.expire(now + 1s + kBucket);
  EXPECT_EQ(store.size(), 0u);
}

}  // namespace
}  // namespace statecast
