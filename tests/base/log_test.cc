// SPDX-License-Identifier: BSD-3-Clause
#include "base/log.h"

#include <gtest/gtest.h>

#include <cctype>
#include <string>

namespace statecast {
namespace {

// The text with each digit as a 0. (Not std::regex: g++ 12 warns wrongly about it under the address sanitizer.)
std::string digits_as_0(std::string text) {
  for (char& c : text)
    if (std::isdigit(static_cast<unsigned char>(c))) c = '0';
  return text;
}

TEST(Log, OneLineFormatAndLevels) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(set_up_log("statecast-test", "info"));
  spdlog::info("peer {} is heard", 2);
  spdlog::debug("not seen");
  ASSERT_TRUE(set_up_log("statecast-test", "off"));
  spdlog::error("not seen either");
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(digits_as_0(text), "0000-00-00T00:00:00.000Z info statecast-test: peer 0 is heard\n");
}

TEST(Log, UnknownLevelSaysWhatThereIs) {
  auto r = set_up_log("statecast-test", "loud");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::invalid);
  EXPECT_NE(r.error().message.find("trace, debug, info"), std::string::npos);
}

}  // namespace
}  // namespace statecast
