// SPDX-License-Identifier: BSD-3-Clause
// Membership: which proxies are in the view, agreed upon in etcd (v3, its JSON gateway). Each proxy registers under a
// lease and says there how far it is; any of them proposes the next view, in one transaction against the view that it
// read, so that one wins. No view follows another before all that are registered have what the last one gave them, and
// only where fewer than W of its proxies may have missed it: those could not go on in it, even if they live.
//
//   PREFIX/proxies/1   {"revision": 4, "in_sync": true, "leaving": false, "zone": "a"}       under the lease of proxy 1
//   PREFIX/dead/3      {}                                                                    an operator's word
//   PREFIX/view        {"revision": 4, "replicas": 3, "writes": 2, "nodes": [{"id": 1, "zone": "a"}, ...]}
//
//   Membership m({.self = {1}, .zone = "a", .known = {{1}, {2}, {3}}}, now);
//   for (StoreRequest r; m.next_request(r);) post(r.path, r.body);         // the edge: etcd_io.h
//   m.on_answer(number, body, now);  m.on_failure(number, "refused", now);  // of a stream: each line, then its failure
//   m.report({.revision = 4, .in_sync = true}, now);
//   if (m.view().id().revision > 4) node.set_view(m.view(), now);
//
// Sans-IO: time comes in, requests go out. What etcd says is read with care: a value that makes no sense is as good as
// none, and is named in status(). Threads: one. Ownership: value.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "directory/view.h"

namespace statecast {

struct MembershipOptions {
  ProxyId self;
  std::string zone;
  std::string prefix = "/statecast";
  unsigned replicas = 3, writes = 2;  // of the views that this proxy proposes
  std::set<ProxyId> known;            // those of the file: others are not taken into a view
  Duration lease = 5s;                // whole seconds
  Duration hold_down = 10s;           // so long is a proxy gone before it is taken out
  Duration settle = 2s;               // so long is one there before it is taken in
};

// How far this proxy is.
struct MembershipReport {
  uint32_t revision = 0;    // of the view that it works in; 0: none yet
  bool in_sync = false;     // in all of its slots there
  std::set<ProxyId> heard;  // proxies whose heartbeats come: those are not dead, whatever etcd says
};

struct StoreRequest {
  uint32_t number = 0;
  std::string path;     // "/v3/kv/range", to POST to
  std::string body;     // JSON
  bool stream = false;  // answers come line by line, until it fails
};

struct MembershipStatus {
  struct Proxy {
    ProxyId id;
    uint32_t revision;
    bool in_sync, leaving, in_view;
  };
  bool reachable = false;  // etcd has answered lately
  bool registered = false;
  std::string trouble;  // of etcd or of what is in it; empty: none
  std::string waits;    // why the view is not changed though it should be; empty: nothing to do
  std::vector<Proxy> proxies;
  uint64_t failures = 0, proposals = 0, lost_proposals = 0, leases = 0;
};

class Membership {
 public:
  Membership(MembershipOptions options, Instant now);

  bool next_request(StoreRequest& out);
  bool wants(uint32_t number) const { return out_.contains(number); }  // else the edge may let go of it
  void on_answer(uint32_t number, std::string_view body, Instant now);
  void on_failure(uint32_t number, std::string_view why, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;

  void report(MembershipReport report, Instant now);
  // Taken out of the view as soon as may be, and not taken in again; false: stay after all.
  void leave(bool leaving, Instant now);
  // An operator knows that this one is dead, and not only cut off; until it registers again.
  void forget(ProxyId dead, Instant now);

  // The newest that etcd is known to have; its revision is 0 before the first.
  const View& view() const { return view_; }
  // It has left: it is in no view any more, and those who have its slots have what it held.
  bool handed_over() const;
  MembershipStatus status(Instant now) const;

 private:
  enum class Kind : uint8_t { grant, keep, put, read, watch, propose, declare };
  struct Registration {
    uint32_t revision = 0;
    bool in_sync = false, leaving = false;
    std::string zone;
  };
  // What it registers of itself, beside what never changes.
  struct Said {
    uint32_t revision;
    bool in_sync, leaving;
    bool operator==(const Said&) const = default;
  };
  struct Out {
    Kind kind;
    Instant sent;
  };

  void send(Kind kind, const std::string& path, std::string body, Instant now, bool stream = false);
  bool is_out(Kind kind) const;
  void work(Instant now);
  void on_read(const nlohmann::json& answer, Instant asked, Instant now);
  void take_answer(uint32_t number, Kind kind, Instant sent, const nlohmann::json& answer, Instant now);
  void take_view(const std::string& at, const std::string& value);
  void lose_lease();
  Said said() const { return {report_.revision, report_.in_sync, leaving_}; }
  std::string key(const std::string& below) const;
  std::string key_of(const char* folder, ProxyId p) const;
  unsigned rank() const;
  bool reachable(Instant now) const;
  bool has_its_slots(const Registration& r) const;  // what the view in force gives it
  void decide(Instant now);
  std::optional<std::vector<ViewNode>> next_nodes(Instant now);
  void propose(const std::vector<ViewNode>& nodes, Instant now);

  MembershipOptions options_;
  MembershipReport report_;
  bool leaving_ = false;
  std::deque<StoreRequest> requests_;
  std::map<uint32_t, Out> out_;
  uint32_t next_number_ = 1;

  std::string lease_;  // empty: none
  Instant keep_at_{};
  std::optional<Said> put_, putting_;  // under this lease, as stored and as under way
  Instant read_at_{}, retry_at_{};
  std::optional<Instant> read_;  // when the last good read was asked for
  std::string trouble_, view_trouble_, waits_;

  View view_;
  int64_t store_revision_ = 0, view_modified_ = 0;
  std::map<ProxyId, Registration> registered_;
  std::set<ProxyId> dead_;  // by an operator's word
  std::map<ProxyId, Instant> there_since_, gone_since_;
  std::optional<Instant> ready_since_;  // the view could be changed since then
  MembershipStatus counted_;            // its counters
};

}  // namespace statecast
