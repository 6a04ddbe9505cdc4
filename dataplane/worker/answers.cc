// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/answers.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "dataplane/packet/icmp.h"

namespace statecast {

namespace {

// Makes `content` what the buffer holds from `offset` on. Never longer than it was, but for the headroom it may take.
bool replace(rte_mbuf* m, size_t offset, Bytes content) {
  size_t size = offset + content.size();
  if (size > m->data_len) {
    if (!rte_pktmbuf_append(m, static_cast<uint16_t>(size - m->data_len))) return false;
  } else {
    rte_pktmbuf_trim(m, static_cast<uint16_t>(m->data_len - size));
  }
  std::memcpy(rte_pktmbuf_mtod_offset(m, uint8_t*, offset), content.data(), content.size());
  return true;
}

}  // namespace

void answer_echo(Burst& b, PipelineState& state, Instant now) {
  if (!b.has(Way::echo)) return;
  for (unsigned i = 0; i < b.count; ++i) {
    if (b.way[i] != Way::echo || !b.pending(i)) continue;
    std::array<uint8_t, 2048> reply;
    size_t n = state.echo.take(now) ? write_echo_reply(b.frame(i), b.parsed[i], reply) : 0;
    if (n == 0 || !replace(b.packet[i], b.parsed[i].l3_offset, Bytes(reply).first(n))) {
      b.drop(i, Counter::group_drop_echo_rate);
      continue;
    }
    // It leaves where the request came in, to whom that came from: so it needs no next hop, and works from the first
    // moment on.
    uint8_t* frame = b.data(i);
    if (b.parsed[i].l3_offset != 0) std::swap_ranges(frame, frame + 6, frame + 6);
    b.decide(i, Verdict::to_client, Counter::group_client_echo);
  }
}

void answer_too_big(Burst& b, unsigned i, size_t mtu, PipelineState& state, Instant now) {
  if (!must_not_fragment(b.frame(i), b.parsed[i])) return b.drop(i, Counter::encap_drop_may_fragment);
  std::array<uint8_t, kIcmpErrorMax> error;
  size_t n = state.too_big.take(now) ? write_too_big(b.frame(i), b.parsed[i], static_cast<uint16_t>(mtu), error) : 0;
  if (n == 0 || !replace(b.packet[i], 0, Bytes(error).first(n))) return b.drop(i, Counter::encap_drop_mtu_exceeded);
  b.parsed[i] = {};
  parse_ip(b.frame(i), b.parsed[i]);
  b.decide(i, Verdict::to_client, Counter::encap_client_too_big);
}

}  // namespace statecast
