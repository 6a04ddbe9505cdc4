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
  EXPECT_TRUE(m.contains(version(1)) && m.contains(version(2)));
  EXPECT_FALSE(m.contains({version(1).key, NodeId::member({2}), version(1).version})) << "another owner's";
  EXPECT_FALSE(m.contains({version(1).key, version(1).owner, {1, 1, 2}})) << "another version";
  m.remember(version(3), kStart + 20s, kStart + 5s);
  EXPECT_TRUE(m.contains(version(1)));
  EXPECT_FALSE(m.contains(version(2)));
}

TEST(VersionMemory, OfTooManyThoseThatAreOverFirstGoFirst) {
  VersionMemory m;
  m.remember(version(0), kStart + 1h, kStart);
  for (uint64_t n = 1; n <= VersionMemory::kMost; ++n)
    m.remember(version(n), kStart + 1s + Duration(static_cast<int64_t>(n)), kStart);
  EXPECT_FALSE(m.contains(version(1)));
  EXPECT_TRUE(m.contains(version(2)) && m.contains(version(VersionMemory::kMost)));
  EXPECT_TRUE(m.contains(version(0))) << "it came first, and is needed longest";
}

}  // namespace
}  // namespace statecast
