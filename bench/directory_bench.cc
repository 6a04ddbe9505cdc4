// SPDX-License-Identifier: BSD-3-Clause
// One directory node, no network and no tag: encoded messages in, encoded messages out, by a view of this node alone.
//
//   build/bench/directory_bench --mappings 10000000          (JSON, one object a line: what was measured)
//
// Queries ask for sessions drawn at random among all (`cold`) or among 1,000 (`hot`), from this proxy's own querier.
// Inserts come from members, new sessions and no packet; the ID is hashed on the way. Bytes per mapping are everything
// that the process has allocated since the node was empty, by malloc's own account and by mappings of memory.
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
constexpr size_t kBatch = 256;  // messages between two looks for answers
constexpr size_t kHot = 1000;

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
  const Endpoint client{*IpAddress::parse("10.0.0.0"), Port{static_cast<uint16_t>(1024 + n % 60'000)}};
  Endpoint from = client;
  const uint32_t host = n / 60'000;
  from.address.raw[1] = static_cast<uint8_t>(host >> 16);
  from.address.raw[2] = static_cast<uint8_t>(host >> 8);
  from.address.raw[3] = static_cast<uint8_t>(host);
  return SessionId::tuple(kGroup, Protocol::tcp, from, *Endpoint::parse("203.0.113.10:443"));
}

std::vector<uint8_t> insert_of(uint32_t n) {
  const MemberId member{1 + n % kMembers};
  return encode({.request = n + 1, .origin = NodeId::member(member)}, Insert{.id = session(n),
                                                                             .state = RecordState::established,
                                                                             .member = member,
                                                                             .version = {0, 1, uint64_t(n) + 1},
                                                                             .handle = n + 1,
                                                                             .lifetime_ms = 60'000});
}

// All that was allocated, and what the kernel has given.
size_t allocated() {
  const auto m = mallinfo2();
  return m.uordblks + m.hblkhd;
}
size_t resident() {
  size_t pages = 0, of_them = 0;
  std::ifstream("/proc/self/statm") >> pages >> of_them;
  return of_them * 4096;
}

class Bench {
 public:
  explicit Bench(size_t mappings) : mappings_(mappings), now_(MonotonicClock::now()), node_(options(mappings), now_) {
    run_to(now_ + 1s);
    SC_ASSERT(node_.status(now_).in_sync);
  }

  // Fills the node; time per insert over the last tenth, at nearly full size.
  void insert_all(nlohmann::json& out) {
    const size_t before = allocated(), resident_before = resident();
    const size_t steps = std::max<size_t>(1, mappings_ / 10);
    double ns = 0;
    for (size_t done = 0; done < mappings_; done += steps) {
      const size_t n = std::min(steps, mappings_ - done);
      std::vector<std::vector<uint8_t>> messages(n);
      for (size_t i = 0; i < n; ++i) messages[i] = insert_of(static_cast<uint32_t>(done + i));
      size_t ok = 0;
      const auto start = std::chrono::steady_clock::now();
      for (size_t i = 0; i < n; ++i) {
        node_.on_message(NodeId::member({1 + static_cast<uint32_t>(done + i) % kMembers}), messages[i], now_);
        if (i % kBatch == kBatch - 1 || i == n - 1) ok += drain(MessageKind::insert_ok);
      }
      ns = since(start) / double(n);
      SC_ASSERT(ok == n);
    }
    out["ns_per_insert"] = ns;
    out["bytes_per_mapping"] = double(allocated() - before) / double(mappings_);
    out["resident_bytes_per_mapping"] = double(resident() - resident_before) / double(mappings_);
  }

  double query(size_t among, double seconds) {
    Rng rng(3);
    constexpr size_t kPrepared = 1 << 16;
    std::vector<std::vector<uint8_t>> messages(kPrepared);
    std::vector<double> rounds;
    for (const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
         std::chrono::steady_clock::now() < until || rounds.size() < 3;) {
      for (auto& m : messages) {
        const SessionId id = session(static_cast<uint32_t>(rng.below(among)));
        m = encode({.request = ++request_, .origin = NodeId::proxy(kSelf)}, Query{session_key(id, secret()), kGroup});
      }
      size_t live = 0;
      const auto start = std::chrono::steady_clock::now();
      for (size_t i = 0; i < kPrepared; ++i) {
        node_.on_message(NodeId::proxy(kSelf), messages[i], now_);
        if (i % kBatch == kBatch - 1) live += drain(MessageKind::live);
      }
      rounds.push_back(since(start) / double(kPrepared));
      SC_ASSERT(live == kPrepared);
    }
    std::sort(rounds.begin(), rounds.end());
    return rounds[rounds.size() / 2];
  }

 private:
  enum class MessageKind { insert_ok, live };

  void run_to(Instant t) {
    for (now_ = t; node_.next_deadline() <= now_;) {
      node_.on_deadline(now_);
      drain(MessageKind::live);
    }
  }
  // How many of the outputs are what was asked for. Their status is read where it stands in an answer.
  size_t drain(MessageKind kind) {
    size_t n = 0;
    const uint8_t type = kMessageTypeFirst + (kind == MessageKind::live ? 1 : 3);
    for (DirectoryOutput o; node_.next_output(o);) {
      if (o.message.size() <= kMessageHeaderSize || o.message[kTypeAt] != type) continue;
      n += kind == MessageKind::live ? o.message[kMessageHeaderSize + 16] == uint8_t(QueryAnswer::Status::live)
                                     : o.message[kMessageHeaderSize] == uint8_t(InsertAnswer::Status::ok);
    }
    return n;
  }
  static double since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
  }

  static constexpr size_t kTypeAt = 0;
  size_t mappings_;
  Instant now_;
  Node node_;
  uint32_t request_ = 0;
};

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  CLI::App app("Measures one directory node without network: queries, inserts and memory.");
  size_t mappings = 1'000'000;
  double seconds = 2;
  app.add_option("--mappings", mappings, "sessions in the node")
      ->check(CLI::Range(1000, 500'000'000))
      ->capture_default_str();
  app.add_option("--seconds", seconds, "of each measurement of queries")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  statecast::Bench bench(mappings);
  nlohmann::json out{{"mappings", mappings}};
  bench.insert_all(out);
  out["ns_per_query_cold"] = bench.query(mappings, seconds);
  out["ns_per_query_hot"] = bench.query(std::min(mappings, statecast::kHot), seconds);
  std::printf("%s\n", out.dump().c_str());
  return 0;
}
