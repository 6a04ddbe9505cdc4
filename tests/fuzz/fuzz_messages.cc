// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as a message: what decodes is the one encoding of what it says, and neither a querier nor an owner that
// gets it does more than answer it.
#include <cstring>
#include <memory>

#include "base/check.h"
#include "directory/messages.h"
#include "directory/owner.h"
#include "directory/querier.h"

using namespace statecast;

namespace {

// With one replica: a machine copies its view, and this runs for each input. Only answers need replicas at all.
const View& view() {
  static const View v({.replicas = 1}, {{{1}, ""}, {{2}, ""}, {{3}, ""}});
  return v;
}

template <class Machine>
void hear(Machine& machine, NodeId from, Bytes message, size_t outputs_max) {
  const Instant now{100s};
  machine.on_message(from, message, now);
  machine.on_message(from, message, now);
  size_t outputs = 0;
  for (DirectoryOutput o; machine.next_output(o);) {
    ++outputs;
    SC_ASSERT(decode(o.message).has_value());
  }
  SC_ASSERT(outputs <= outputs_max);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of exactly this size, so that the address sanitizer sees a read past the end.
  auto copy = std::make_unique<uint8_t[]>(size);
  if (size) std::memcpy(copy.get(), data, size);
  const Bytes bytes(copy.get(), size);
  auto m = decode(bytes);
  if (!m) return 0;
  const auto again = encode(m->header, m->body);
  SC_ASSERT(again.size() == size && std::memcmp(again.data(), data, size) == 0);
  SC_ASSERT(message_name(m->body)[0] != '\0');

  auto* answer = std::get_if<QueryAnswer>(&m->body);
  Querier querier({.self = {9},
                   .view = answer ? view() : View{},
                   .boot = 77,
                   .timestamp_us = [](Instant t) { return uint64_t(t.time_since_epoch() / 1us); }},
                  1);
  if (answer) querier.ask(answer->key, {10}, Instant{100s});
  hear(querier, NodeId::proxy({1}), bytes, 4);
  size_t events = 0;
  for (CacheEvent e; querier.next_event(e);) ++events;
  SC_ASSERT(events <= 2);

  Owner owner({.self = {7}}, 1);
  hear(owner, NodeId::proxy({1}), bytes, 2);
  for (OwnerEvent e; owner.next_event(e);) SC_ASSERT(false);  // it has no session and no request
  return 0;
}
