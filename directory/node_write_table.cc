// SPDX-License-Identifier: BSD-3-Clause
// The inserts under way, by number and by session. They are used again, and lie apart from the tables that lead to
// them: a reference holds until the insert is dropped, and a new one needs no memory.
#include "directory/node_state.h"

namespace statecast {

Write& Node::State::new_write(uint32_t id, const SessionKey& key) {
  if (free_writes.empty()) free_writes.push_back(&all_writes.emplace_back());
  Write& w = *free_writes.back();
  free_writes.pop_back();
  w.id = id;
  writes[id] = write_of[key] = &w;
  return w;
}

Node::State::Detached Node::State::detach(Write& w) {
  if (Write** of = write_of.find(w.record.key); of && *of == &w) write_of.erase(w.record.key);
  for (const Waiter& waiter : w.waiters) {
    if (--pending[waiter.origin] == 0) pending.erase(waiter.origin);
  }
  writes.erase(w.id);
  return {*this, w};
}

void Node::State::reuse_write(Write& w) {
  std::vector<Waiter> waiters = std::move(w.waiters);
  waiters.clear();
  w = {};
  w.waiters = std::move(waiters);
  free_writes.push_back(&w);
}

}  // namespace statecast
