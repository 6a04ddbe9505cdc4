// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/accounting.h"

namespace statecast {

void WorkerCounters::reset() {
#define X(name, text) name.reset();
  STATECAST_PKTGEN_WORKER_COUNTERS(X)
#undef X
}

Accounts::Accounts(size_t streams, size_t workers, double cycles_per_ns)
    : streams_(streams),
      workers_(workers),
      ns_per_cycle_(1 / cycles_per_ns),
      counters_(std::make_unique<StreamCounters[]>(streams * 2)),
      windows_(streams * workers * 2) {}

void Accounts::reset() {
  for (size_t i = 0; i < streams_ * 2; ++i) {
    StreamCounters& c = counters_[i];
    for (Tally* t :
         {&c.sent, &c.sent_bytes, &c.received, &c.received_bytes, &c.reordered, &c.late, &c.duplicate, &c.wrong_member})
      t->reset();
    c.latency.reset();
  }
  for (SequenceWindow& w : windows_) w.reset();
  worker_.reset();
}

StreamTotals totals(std::span<const Accounts* const> accounts, size_t stream, Flow flow) {
  StreamTotals t;
  for (const Accounts* a : accounts) {
    const StreamCounters& c = a->counters(stream, flow);
    t.sent += c.sent.value();
    t.sent_bytes += c.sent_bytes.value();
    t.received += c.received.value();
    t.received_bytes += c.received_bytes.value();
    t.reordered += c.reordered.value();
    t.late += c.late.value();
    t.duplicate += c.duplicate.value();
    t.wrong_member += c.wrong_member.value();
  }
  return t;
}

}  // namespace statecast
