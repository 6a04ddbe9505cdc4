// SPDX-License-Identifier: BSD-3-Clause
// FlatMap: a hash map in one array, without memory of its own per entry. For what is looked up, added and taken away
// with every message, and is small beside the store: it doubles by moving all.
//
//   FlatMap<NodeId, size_t> pending;
//   ++pending[origin];
//   if (size_t* n = pending.find(origin)) ...
//   pending.erase(origin);
//
// REQUIRES: keys that nobody outside can choose to collide, or so few that it does not matter; a key's hash has to
// differ in its low or its high bits only. Threads: one. Ownership: values; what find and [] give is good until the
// next change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace statecast {

template <class Key, class Value>
class FlatMap {
 public:
  Value* find(const Key& key) {
    if (size_ == 0) return nullptr;
    Entry& e = entries_[look(key)];
    return e.used ? &e.value : nullptr;
  }
  const Value* find(const Key& key) const { return const_cast<FlatMap*>(this)->find(key); }
  bool contains(const Key& key) const { return find(key) != nullptr; }

  Value& operator[](const Key& key) {
    if ((size_ + 1) * 4 > entries_.size() * 3) grow();
    Entry& e = entries_[look(key)];
    if (!e.used) {
      e.used = true;
      e.key = key;
      ++size_;
    }
    return e.value;
  }
  bool erase(const Key& key) {
    if (size_ == 0) return false;
    size_t at = look(key);
    if (!entries_[at].used) return false;
    --size_;
    // What stands behind it because of it comes nearer.
    for (size_t next = after(at); entries_[next].used; next = after(next)) {
      const size_t away = (next - home(entries_[next].key)) & (entries_.size() - 1);
      if (away < ((next - at) & (entries_.size() - 1))) continue;
      entries_[at] = std::move(entries_[next]);
      at = next;
    }
    entries_[at] = {};
    return true;
  }
  template <class Test>
  void erase_if(Test test) {
    std::vector<Key> gone;
    for_each([&](const Key& key, Value& value) {
      if (test(key, value)) gone.push_back(key);
    });
    for (const Key& key : gone) erase(key);
  }
  // In no order. REQUIRES: `each` changes values only.
  template <class Each>
  void for_each(Each each) {
    for (Entry& e : entries_) {
      if (e.used) each(std::as_const(e.key), e.value);
    }
  }
  template <class Each>
  void for_each(Each each) const {
    for (const Entry& e : entries_) {
      if (e.used) each(e.key, e.value);
    }
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  struct Entry {
    Key key{};
    Value value{};
    bool used = false;
  };
  size_t home(const Key& key) const {
    const uint64_t mixed = std::hash<Key>{}(key)*0x9e3779b97f4a7c15u;
    return (mixed >> 32) & (entries_.size() - 1);
  }
  size_t after(size_t at) const { return (at + 1) & (entries_.size() - 1); }
  // Where it is, or would be.
  size_t look(const Key& key) const {
    size_t at = home(key);
    while (entries_[at].used && !(entries_[at].key == key)) at = after(at);
    return at;
  }
  void grow() {
    std::vector<Entry> before = std::exchange(entries_, std::vector<Entry>(entries_.empty() ? 8 : 2 * entries_.size()));
    for (Entry& e : before) {
      if (e.used) entries_[look(e.key)] = std::move(e);
    }
  }
  std::vector<Entry> entries_;
  size_t size_ = 0;
};

}  // namespace statecast
