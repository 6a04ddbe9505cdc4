// SPDX-License-Identifier: BSD-3-Clause
#include "base/units.h"

namespace statecast {

Instant MonotonicClock::now() noexcept {
  return Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

std::string to_string(NodeId id) {
  switch (id.kind()) {
    case NodeId::Kind::proxy: return "p" + std::to_string(id.number());
    case NodeId::Kind::member: return "m" + std::to_string(id.number());
    case NodeId::Kind::op: return "operator";
    case NodeId::Kind::none: break;
  }
  return "nobody";
}

}  // namespace statecast
