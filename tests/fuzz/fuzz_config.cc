// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as a configuration, of a proxy, of an agent and of a generator: an error with words, or a configuration
// whose effective form loads back to the same.
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "config/config.h"
#include "config/pktgen_config.h"

using namespace statecast;

namespace {

template <class Config>
void load(Result<Config> (*parse)(const std::string&, const std::string&), const std::string& text) {
  auto c = parse(text, "input");
  if (!c) {
    SC_ASSERT(c.error().message.starts_with("input:"));
    return;
  }
  auto again = parse(to_yaml(*c), "effective");
  SC_ASSERT(again);
  SC_ASSERT(*again == *c);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  load(parse_proxy_config, text);
  load(parse_agent_config, text);
  load(parse_pktgen_config, text);
  return 0;
}
