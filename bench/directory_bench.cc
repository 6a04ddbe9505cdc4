// SPDX-License-Identifier: BSD-3-Clause
// One directory node, no network and no tag: encoded messages in, encoded messages out, by a view of this node alone.
//
//   build/bench/directory_bench --mappings 10000000          (JSON, one object a line: what was measured)
//
// Inserts go to a node that has had as many before; the `first` ones wait for the kernel's pages, too. Queries ask for
// sessions drawn at random among all (`cold`) or among 1,000 (`hot`), from this proxy's own querier. Inserts come from
// members, new sessions and no packet; the ID is hashed on the way. Refreshes name 60 handles each. Messages come in
// bursts of 32, or one by one where the name says so. The node's time goes on by 1 us for each insert and 100 ns for
// each query, so that its timers run and records are renewed and end as they would at those rates. Bytes per mapping
// are all memory that the process has got from the kernel since the node was empty. The rival is what a look-up alone
// costs in std::unordered_map.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "directory/node.h"

namespace statecast {
namespace {

constexpr ProxyId kSelf{1};
constexpr GroupId kGroup{10};
constexpr uint32_t kMembers = 1000;
constexpr size_t kBurst = 32;
constexpr size_t kHot = 1000;
constexpr size_t kPrepared = 4096;  // messages: a network card leaves them in the cache, too
constexpr Duration kLife = 120s, kPerInsert = 1us, kPerQuery = 100ns, kHearing = 50ms;

GroupSecret secret() {
  GroupSecret s;
  s.raw.fill(7);
  return s;
}

NodeOptions options(size_t mappings) {
  DirectoryGroup group{.id = kGroup, .secret = secret()};
  for (uint32_t m = 1; m <= kMembers; ++m) group.members.push_back({m});
  return {.self = kSelf,
          .view = View({.revision = 1, .replicas = 3, .writes = 2}, {{kSelf, "a"}}),
          .groups = {group},
          .seed = 1,
          .newest_stamp = {},
          .records_max = mappings + mappings / 4};
}

// The n-th session: a TCP tuple of its own.
SessionId session(uint32_t n) {
  const uint32_t host = n / 60'000;
  const uint16_t port = static_cast<uint16_t>(1024 + n % 60'000);
  const uint8_t tuple[12] = {10,
                             static_cast<uint8_t>(host >> 16),
                             static_cast<uint8_t>(host >> 8),
                             static_cast<uint8_t>(host),
                             203,
                             0,
                             113,
                             10,
                             static_cast<uint8_t>(port >> 8),
                             static_cast<uint8_t>(port),
                             443 >> 8,
                             443 & 0xff};
  SessionId id;
  id.set_tuple4(kGroup, Protocol::tcp, tuple);
  return id;
}
MemberId member_of(uint32_t n) {
  return {1 + n % kMembers};
}

using Encoded = std::vector<uint8_t>;

Encoded insert_of(uint32_t n) {
  return encode({.request = n + 1, .origin = NodeId::member(member_of(n))},
                Insert{.id = session(n),
                       .state = RecordState::established,
                       .member = member_of(n),
                       .version = {0, 1, uint64_t(n) + 1},
                       .handle = n + 1,
                       .lifetime_ms = static_cast<uint32_t>(to_ms(kLife)),
                       .bucket_counter = uint64_t(n) + 1});
}

// All memory that the process has; what malloc keeps for later is given back first.
size_t resident() {
  malloc_trim(0);
  size_t pages = 0, of_them = 0;
  std::ifstream("/proc/self/statm") >> pages >> of_them;
  return of_them * 4096;
}

using Clock = std::chrono::steady_clock;
double ns_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}
double median(std::vector<double>& of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

class Bench {
 public:
  explicit Bench(size_t mappings) : mappings_(mappings), now_(MonotonicClock::now()), node_(options(mappings), now_) {
    go_on(1s);
    SC_ASSERT(node_.status(now_).in_sync);
  }

  // Fills the node; time per insert over the last tenth, at nearly full size.
  double insert_all() {
    double per_insert = 0;
    const size_t steps = std::max<size_t>(1, mappings_ / 10), piece = kPrepared;
    for (size_t step = 0; step < mappings_; step += steps) {
      const size_t end = std::min(mappings_, step + steps);
      double ns = 0;
      for (size_t done = step; done < end; done += piece) {
        std::vector<Encoded> messages(std::min(piece, end - done));
        for (size_t i = 0; i < messages.size(); ++i) messages[i] = insert_of(static_cast<uint32_t>(done + i));
        const auto start = Clock::now();
        const size_t ok = hand_over(messages, kBurst, kPerInsert, [&](size_t i) {
          return NodeId::member(member_of(static_cast<uint32_t>(done + i)));
        });
        ns += ns_since(start);
        SC_ASSERT(ok == messages.size());
      }
      per_insert = ns / double(end - step);
    }
    return per_insert;
  }

  double query(size_t among, size_t burst, double seconds) {
    return measure(seconds, [&](Rng& rng, std::vector<Encoded>& messages) {
      for (auto& m : messages) {
        const SessionId id = session(static_cast<uint32_t>(rng.below(among)));
        m = encode({.request = ++request_, .origin = NodeId::proxy(kSelf)}, Query{session_key(id, secret()), kGroup});
      }
      const auto start = Clock::now();
      const size_t live = hand_over(messages, burst, kPerQuery, [](size_t) { return NodeId::proxy(kSelf); });
      SC_ASSERT(live == messages.size());
      return ns_since(start) / double(messages.size());
    });
  }

  // Time per handle.
  double refresh(double seconds) {
    return measure(seconds, [&](Rng& rng, std::vector<Encoded>& messages) {
      std::vector<NodeId> from(messages.size());
      for (size_t i = 0; i < messages.size(); ++i) {
        const auto member = static_cast<uint32_t>(rng.below(kMembers));
        Refresh m{.incarnation = 1, .entries = {}};
        while (m.entries.size() < kRefreshEntriesMax) {
          const auto n = static_cast<uint32_t>(rng.below(mappings_ / kMembers) * kMembers + member);
          m.entries.push_back({n + 1, n + 1ull, kUnlimitedBytes});
        }
        from[i] = NodeId::member(member_of(member));
        messages[i] = encode({.request = ++request_, .origin = from[i], .view = node_.status(now_).view}, m);
      }
      const auto start = Clock::now();
      const size_t taken = hand_over(messages, kBurst, kPerQuery, [&](size_t i) { return from[i]; });
      SC_ASSERT(taken == messages.size());
      return ns_since(start) / double(messages.size() * kRefreshEntriesMax);
    });
  }

  // All end, within some seconds of each other; time per record.
  double expire() {
    const size_t records = node_.status(now_).records;
    SC_ASSERT(records == mappings_);
    const auto start = Clock::now();
    go_on(kLife + 1s);
    SC_ASSERT(node_.status(now_).records == 0);
    return ns_since(start) / double(records);
  }

 private:
  template <class Round>
  double measure(double seconds, Round round) {
    Rng rng(3);
    std::vector<Encoded> messages(kPrepared);
    std::vector<double> rounds;
    for (const auto until = Clock::now() + std::chrono::duration<double>(seconds);
         Clock::now() < until || rounds.size() < 3;) {
      rounds.push_back(round(rng, messages));
    }
    return median(rounds);
  }

  // In bursts; how many were answered as was hoped for.
  template <class From>
  size_t hand_over(const std::vector<Encoded>& messages, size_t burst, Duration each, From from) {
    size_t good = 0;
    NodeMessage some[kBurst];
    for (size_t done = 0; done < messages.size(); done += burst) {
      const size_t n = std::min(burst, messages.size() - done);
      for (size_t i = 0; i < n; ++i) some[i] = {from(done + i), messages[done + i]};
      go_on(static_cast<int64_t>(n) * each);
      node_.on_messages(std::span(some, n), now_);
      good += drain();
    }
    return good;
  }

  void go_on(Duration d) {
    now_ += d;
    if (now_ >= next_heard_) {
      for (uint32_t n = 0; n < kMembers; ++n) node_.on_member_heard(member_of(n), now_);
      next_heard_ = now_ + kHearing;
    }
    while (node_.next_deadline() <= now_) {
      node_.on_deadline(now_);
      drain();
    }
  }
  // Status and counts are read where they stand in an answer.
  size_t drain() {
    size_t n = 0;
    while (node_.next_output(output_)) {
      if (output_.message.size() <= kMessageHeaderSize) continue;
      const uint8_t* body = &output_.message[kMessageHeaderSize];
      switch (output_.message[0]) {
        case message_type<QueryAnswer>(): n += body[16] == uint8_t(QueryAnswer::Status::live); break;
        case message_type<InsertAnswer>(): n += body[0] == uint8_t(InsertAnswer::Status::ok); break;
        case message_type<RefreshAnswer>(): n += body[0] == 0 && body[1] == 0; break;  // none unknown, none revoked
        default: break;
      }
    }
    return n;
  }

  size_t mappings_;
  Instant now_, next_heard_{};
  Node node_;
  DirectoryOutput output_;
  uint32_t request_ = 0;
};

// What one look-up costs in a map of the standard library, and what an entry takes.
void measure_rival(size_t mappings, double seconds, nlohmann::json& out) {
  const size_t before = resident();
  std::unordered_map<SessionKey, Record> map;
  map.reserve(mappings);
  for (size_t n = 0; n < mappings; ++n) {
    const SessionKey key = session_key(session(static_cast<uint32_t>(n)), secret());
    map.emplace(key, Record{.key = key, .handle = static_cast<uint32_t>(n)});
  }
  Rng rng(3);
  std::vector<SessionKey> keys(1 << 16);
  std::vector<double> rounds;
  for (const auto until = Clock::now() + std::chrono::duration<double>(seconds); Clock::now() < until;) {
    for (auto& k : keys) k = session_key(session(static_cast<uint32_t>(rng.below(mappings))), secret());
    uint32_t sum = 0;
    const auto start = Clock::now();
    for (const SessionKey& k : keys) sum += map.find(k)->second.handle;
    rounds.push_back(ns_since(start) / double(keys.size()));
    SC_ASSERT(sum != 0);
  }
  out["rival"] = {{"ns_per_find_cold", median(rounds)},
                  {"bytes_per_mapping", double(resident() - before) / double(mappings)}};
}

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  CLI::App app("Measures one directory node without network: queries, inserts and memory.");
  size_t mappings = 1'000'000;
  double seconds = 2;
  app.add_option("--mappings", mappings, "sessions in the node")
      ->check(CLI::Range(1000, 500'000'000))
      ->capture_default_str();
  bool rival = false;
  app.add_option("--seconds", seconds, "of each measurement of queries")->capture_default_str();
  app.add_flag("--rival", rival, "measure std::unordered_map, too");
  CLI11_PARSE(app, argc, argv);
  nlohmann::json out{{"mappings", mappings}};
  if (rival) statecast::measure_rival(mappings, seconds, out);
  statecast::Bench bench(mappings);
  const size_t before = statecast::resident();
  out["ns_per_insert_first"] = bench.insert_all();
  out["bytes_per_mapping"] = double(statecast::resident() - before) / double(mappings);
  out["ns_per_query_cold"] = bench.query(mappings, statecast::kBurst, seconds);
  out["ns_per_query_hot"] = bench.query(std::min(mappings, statecast::kHot), statecast::kBurst, seconds);
  out["ns_per_query_cold_one_by_one"] = bench.query(mappings, 1, seconds);
  out["ns_per_refresh"] = bench.refresh(seconds);
  out["ns_per_expiry"] = bench.expire();
  out["ns_per_insert"] = bench.insert_all();
  std::printf("%s\n", out.dump().c_str());
  return 0;
}
