// SPDX-License-Identifier: BSD-3-Clause
// Answers that the proxy makes itself, each in the buffer of the packet that caused it: echo replies, and
// "fragmentation needed" / "packet too big". Their source is the address that the client wrote to, never one of the
// underlay.
//
//   answer_echo(b, state, now);                            // a pipeline step
//   answer_too_big(b, i, layout.inner_mtu(), state, now);  // from encapsulate
//
// Threads: one worker. Ownership: none.
#pragma once

#include "dataplane/worker/burst.h"
#include "dataplane/worker/pipeline.h"

namespace statecast {

// Replaces packet i (bare) by the ICMP error, verdict to_client; or drops it: an ICMP error is never answered.
void answer_too_big(Burst& b, unsigned i, size_t mtu, PipelineState& state, Instant now);

}  // namespace statecast
