// SPDX-License-Identifier: BSD-3-Clause
#include "base/bytes.h"

#include <gtest/gtest.h>

#include <array>

#include "base/byte_order.h"

namespace statecast {
namespace {

TEST(Bytes, WriterThenReader) {
  std::array<uint8_t, 64> space{};
  Writer w(space);
  w.u8(0x01);
  w.u16(0x0203);
  w.u24(0x040506);
  w.u32(0x0708090a);
  w.u40(0x0b0c0d0e0f);
  w.u48(0x101112131415);
  w.u64(0x161718191a1b1c1d);
  w.zeros(2);
  ASSERT_TRUE(w.ok());
  ASSERT_EQ(w.size(), 31u);
  for (size_t i = 0; i < 29; ++i) EXPECT_EQ(space[i], i + 1);

  Reader r(w.written());
  EXPECT_EQ(r.u8(), 0x01u);
  EXPECT_EQ(r.u16(), 0x0203u);
  EXPECT_EQ(r.u24(), 0x040506u);
  EXPECT_EQ(r.u32(), 0x0708090au);
  EXPECT_EQ(r.u40(), 0x0b0c0d0e0fu);
  EXPECT_EQ(r.u48(), 0x101112131415u);
  EXPECT_EQ(r.u64(), 0x161718191a1b1c1du);
  EXPECT_FALSE(r.done());
  EXPECT_EQ(r.rest().size(), 2u);
  EXPECT_TRUE(r.done());
}

TEST(Bytes, ReaderFailsAndStaysFailed) {
  std::array<uint8_t, 3> in{1, 2, 3};
  Reader r(in);
  EXPECT_EQ(r.u32(), 0u);
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.u8(), 0u);  // there was one, but the reader has failed
  EXPECT_EQ(r.left(), 0u);
  EXPECT_FALSE(r.done());
  std::array<uint8_t, 4> out{9, 9, 9, 9};
  r.copy(out);
  EXPECT_EQ(out, (std::array<uint8_t, 4>{}));
}

TEST(Bytes, WriterFailsAndStaysFailed) {
  std::array<uint8_t, 3> out{};
  Writer w(out);
  w.u16(0xffff);
  w.u16(0xffff);
  EXPECT_FALSE(w.ok());
  w.u8(1);
  EXPECT_EQ(w.size(), 2u);
  EXPECT_EQ(out[2], 0);
}

TEST(Bytes, BigEndian) {
  Be32 v = Be32::of(0x01020304);
  EXPECT_EQ(v.raw[0], 1);
  EXPECT_EQ(v.raw[3], 4);
  EXPECT_EQ(v.get(), 0x01020304u);
  EXPECT_EQ(Be64::of(~uint64_t(0)).get(), ~uint64_t(0));
}

}  // namespace
}  // namespace statecast
