// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/counters.h"

namespace statecast {

namespace {

struct Text {
  const char* name;
  const char* help;
};
constexpr Text kTexts[] = {
#define COUNTER(symbol, name, severity, unit, sentence) {name, sentence},
#include "dataplane/counters.def"
#undef COUNTER
};

}  // namespace

const char* counter_name(Counter c) {
  return c < Counter::count ? kTexts[static_cast<size_t>(c)].name : "none";
}
const char* counter_help(Counter c) {
  return c < Counter::count ? kTexts[static_cast<size_t>(c)].help : "";
}

}  // namespace statecast
