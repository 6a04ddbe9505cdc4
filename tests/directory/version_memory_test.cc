// SPDX-License-Identifier: BSD-3-Clause
#include "directory/version_memory.h"

#include <gtest/gtest.h>

namespace statecast {
namespace {

constexpr Instant kStart{100s};

VersionKey version(uint64_t n) {
  return {{n, n}, NodeId::member({1}), {1, 1, n}};
}

TEST(VersionMemory, KnowsWhatIsNotOver) {
  VersionMemory m;
  m.remember(version(1), kStart + 10s, kStart);
  m.remember(version(2), kStart + 5s, kStart);
  auto knows = [&](const VersionKey& v, Duration after = 0s) { return m.contains(v, kStart + after); };
  EXPECT_TRUE(knows(version(1)) && knows(version(2)));
  EXPECT_FALSE(knows({version(1).key, NodeId::member({2}), version(1).version})) << "another owner's";
  EXPECT_FALSE(knows({version(1).key, version(1).owner, {1, 1, 2}})) << "another version";
  EXPECT_TRUE(knows(version(2), 5s - 1ns));
  EXPECT_FALSE(knows(version(2), 5s));
  m.remember(version(2), kStart + 20s, kStart + 6s);
  EXPECT_TRUE(knows(version(2), 6s)) << "anew";
  m.remember(version(2), kStart + 8s, kStart + 7s);
  EXPECT_TRUE(knows(version(2), 19s)) << "the later of both";
}

TEST(VersionMemory, OfTooManyThoseThatAreOverFirstGoFirst) {
  VersionMemory m;
  m.remember(version(0), kStart + 1h, kStart);
  for (uint64_t n = 1; n <= VersionMemory::kMost; ++n)
    m.remember(version(n), kStart + 1s + Duration(static_cast<int64_t>(n)), kStart);
  EXPECT_FALSE(m.contains(version(1), kStart));
  EXPECT_TRUE(m.contains(version(2), kStart) && m.contains(version(VersionMemory::kMost), kStart));
  EXPECT_TRUE(m.contains(version(0), kStart)) << "it came first, and is needed longest";
}

}  // namespace
}  // namespace statecast
