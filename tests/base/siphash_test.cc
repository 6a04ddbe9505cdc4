// SPDX-License-Identifier: BSD-3-Clause
#include "base/siphash.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <cstdlib>
#include <vector>

#include "base/rng.h"

namespace statecast {
namespace {

static_assert(crypto_shorthash_siphashx24_BYTES == 16 && crypto_shorthash_siphashx24_KEYBYTES == 16);

SipTag by_libsodium(const SipTag& key, const std::vector<uint8_t>& message) {
  SipTag out;
  crypto_shorthash_siphashx24(out.data(), message.data(), message.size(), key.data());
  return out;
}

struct Message {
  SipTag key;
  std::vector<uint8_t> bytes;
};

Message random_message(Rng& rng, size_t size) {
  Message m{{}, std::vector<uint8_t>(size)};
  rng.fill(m.key);
  rng.fill(m.bytes);
  return m;
}

uint64_t seed() {
  const char* given = std::getenv("SEED");
  return given ? std::strtoull(given, nullptr, 10) : 24;
}

// The reference implementation's vectors_sip128 begin with this one: key 00..0f, no message.
TEST(SipHash, PublishedVector) {
  SipTag key;
  for (size_t i = 0; i < 16; ++i) key[i] = static_cast<uint8_t>(i);
  SipTag expected = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
  EXPECT_EQ(siphash128(key, {}), expected);
}

TEST(SipHash, EqualsLibsodiumAtEveryLength) {
  Rng rng(seed());
  for (size_t size = 0; size <= 200; ++size) {
    Message m = random_message(rng, size);
    ASSERT_EQ(siphash128(m.key, m.bytes), by_libsodium(m.key, m.bytes)) << size << " SEED=" << seed();
  }
}

TEST(SipHash, PartsEqualTheWhole) {
  Rng rng(seed());
  for (int i = 0; i < 3000; ++i) {
    Message m = random_message(rng, rng.below(201));
    SipHasher128 h(m.key);
    Bytes left(m.bytes);
    while (!left.empty()) {
      size_t take = rng.below(std::min<size_t>(left.size(), 20) + 1);  // also empty parts
      h.update(left.first(take));
      left = left.subspan(take);
    }
    ASSERT_EQ(h.finish(), by_libsodium(m.key, m.bytes)) << m.bytes.size() << " SEED=" << seed();
  }
}

TEST(SipHash, LanesEqualLibsodium) {
  Rng rng(seed());
  for (SipLanes lanes : {SipLanes::one, SipLanes::four, SipLanes::eight}) {
    if (lanes > best_sip_lanes()) continue;
    for (int round = 0; round < 600; ++round) {
      bool same_length = rng.chance(0.3);
      size_t n = rng.below(80), length = rng.below(201);
      std::vector<Message> messages;
      for (size_t i = 0; i < n; ++i) messages.push_back(random_message(rng, same_length ? length : rng.below(201)));
      std::vector<SipTag> out(n);
      std::vector<SipJob> jobs;
      for (size_t i = 0; i < n; ++i)
        jobs.push_back({messages[i].key.data(), messages[i].bytes.data(), messages[i].bytes.size(), out[i].data()});
      siphash128_many(jobs, lanes);
      for (size_t i = 0; i < n; ++i)
        ASSERT_EQ(out[i], by_libsodium(messages[i].key, messages[i].bytes))
            << "lanes " << static_cast<int>(lanes) << " message " << i << " of " << n << " SEED=" << seed();
    }
  }
}

TEST(SipHash, SixteenBytesEqualLibsodium) {
  Rng rng(seed());
  for (SipLanes lanes : {SipLanes::one, SipLanes::four, SipLanes::eight}) {
    if (lanes > best_sip_lanes()) continue;
    for (size_t n = 0; n <= 80; ++n) {
      std::vector<Message> messages;
      for (size_t i = 0; i < n; ++i) messages.push_back(random_message(rng, 16));
      std::vector<const uint8_t*> keys, bytes;
      for (const Message& m : messages) keys.push_back(m.key.data()), bytes.push_back(m.bytes.data());
      const SipTag untouched{0xa5};
      std::vector<SipTag> out(n + 1, untouched);
      siphash128_many_of_16(keys.data(), bytes.data(), n, out.data(), lanes);
      for (size_t i = 0; i < n; ++i)
        ASSERT_EQ(out[i], by_libsodium(messages[i].key, messages[i].bytes))
            << "lanes " << static_cast<int>(lanes) << " message " << i << " of " << n << " SEED=" << seed();
      ASSERT_EQ(out[n], untouched) << "of " << n;
    }
  }
}

}  // namespace
}  // namespace statecast
