// SPDX-License-Identifier: BSD-3-Clause
#include "base/log.h"

#include <gtest/gtest.h>

#include <regex>

namespace statecast {
namespace {

TEST(Log, OneLineFormatAndLevels) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(set_up_log("statecast-test", "info"));
  spdlog::info("peer {} is heard", 2);
  spdlog::debug("not seen");
  ASSERT_TRUE(set_up_log("statecast-test", "off"));
  spdlog::error("not seen either");
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(std::regex_match(
      text, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info statecast-test: peer 2 is heard\n)")))
      << text;
}

TEST(Log, UnknownLevelSaysWhatThereIs) {
  auto r = set_up_log("statecast-test", "loud");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::invalid);
  EXPECT_NE(r.error().message.find("trace, debug, info"), std::string::npos);
}

}  // namespace
}  // namespace statecast
