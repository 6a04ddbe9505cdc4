// SPDX-License-Identifier: BSD-3-Clause
// EtcdDouble: as much of etcd's JSON gateway as membership uses, in memory and virtual time: revisions, leases that
// end, transactions on modification revisions, watches. The real one stands in tests/e2e/etcd_test.py.
//
//   EtcdDouble etcd;
//   std::string answer = etcd.post("/v3/kv/range", body, now);
//   for (std::string& line : etcd.news(watch)) ...
//
// Threads: one. Ownership: value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/units.h"

namespace statecast::test {

class EtcdDouble {
 public:
  // Empty: it is an error (a lease that is over).
  std::string post(const std::string& path, const std::string& body, Instant now);
  void pass(Instant now);  // leases end
  // What a watch from this revision on would say by now, a line each.
  bool has_news(int64_t since) const { return revision_ >= since; }
  int64_t revision() const { return revision_; }

  struct Value {
    std::string value;
    int64_t modified = 0, lease = 0;
  };
  const std::map<std::string, Value>& values() const { return values_; }
  void erase(const std::string& key);
  void set(const std::string& key, const std::string& value) { values_[key] = {value, ++revision_, 0}; }

 private:
  struct Lease {
    Duration life;
    Instant ends;
  };
  std::map<std::string, Value> values_;
  std::map<int64_t, Lease> leases_;
  int64_t revision_ = 1, next_lease_ = 7'000'000'000;
};

std::string to_base64(const std::string& text);

}  // namespace statecast::test
