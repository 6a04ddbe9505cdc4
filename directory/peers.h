// SPDX-License-Identifier: BSD-3-Clause
// Peers: what one node knows of the other nodes of its view: who is heard, permits, and the lists of changes that
// permits wait for.
//
// A permit is the answer to a heartbeat: valid 1 s from when the heartbeat left, less the safety margin, and it counts
// once everything up to the number that it names has been applied. Each node keeps a list of changes per peer; a list
// is named by the boots of its two ends, so a restart of either end starts a new one, numbered from 1, in which what
// was still unacknowledged comes again.
//
// Threads: one. Ownership: values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "directory/messages.h"

namespace statecast {

inline constexpr Duration kHeartbeatPeriod = 250ms;
inline constexpr Duration kPermitLife = 1s;
inline constexpr Duration kHeardLife = 1s;           // unheard for longer: not asked, not relayed to
inline constexpr Duration kUnacknowledgedMax = 45s;  // a change unacknowledged for longer: that peer is out of sync
inline constexpr Duration kUnheardForSync = 15s;     // a replica unheard for as long is not waited for
inline constexpr Duration kDeadManTime = 3s;
inline constexpr size_t kChangesMax = 65'536;  // per list; more: that peer is out of sync
inline constexpr size_t kChangesInFlight = 32;

struct ListedChange {
  Record record;
  Instant expires;
  bool lifted = false;
  Instant listed;
};

inline constexpr SlotRange kAllSlots{0, 65'535};
// In order and apart, as in messages.
inline bool holds(const std::vector<SlotRange>& ranges, Slot slot) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), slot.value,
                                [](uint16_t s, const SlotRange& r) { return s < r.first; });
  return after != ranges.begin() && std::prev(after)->last >= slot.value;
}

class OtherNode {
 public:
  explicit OtherNode(ProxyId peer_id) : id(peer_id) {}

  const ProxyId id;
  uint32_t boot = 0;         // 0: not known yet
  Instant boot_known{};      // since when
  bool out_of_sync = false;  // it left changes unacknowledged: no permits for it until it has a new boot

  bool met = false;  // it is known to be in this node's view
  Instant met_at{};  // since when

  // --- what its last permit in this view said of itself ---
  bool in_sync = false;  // in all of its slots
  bool out_of_sync_in(Slot slot) const { return holds(out_of_sync_slots_, slot); }

  // --- heard, round trip ---
  void on_heard(Instant now) { heard_ = now; }
  bool heard(Instant now) const { return heard_ && now - *heard_ < kHeardLife; }
  bool unheard_for(Duration d, Instant start, Instant now) const {
    return now - std::max(heard_.value_or(start), start) >= d;
  }
  Duration rtt() const { return rtt_; }
  Duration retry() const { return std::max<Duration>(50ms, 2 * rtt_); }

  // True if this boot is news; false if it is the one known, or one that has been given up.
  bool on_boot(uint32_t boot, Instant now);
  bool is_stale(uint32_t boot) const;  // of a boot that has been given up

  // --- permits that it gives me ---
  void on_asked(uint32_t request, Instant now);
  void on_permit(uint32_t request, const Permit& permit, Instant now);
  void drop_permits();
  bool permits(Slot slot, Instant now) const { return permit_for(given_, slot, now); }
  bool permits_any(Instant now) const { return !given_.empty() && now < given_.back().until; }
  // Of the view before: good for slots that have not moved.
  bool permitted_before(Slot slot, Instant now) const { return permit_for(given_before_, slot, now); }
  void on_view();  // another one: what it said of itself and permitted was about the one before

  // --- its list for me ---
  uint64_t applied = 0;
  std::map<uint64_t, ListedChange> early;  // numbers after that, before their turn
  // Changes of my list that it has acknowledged, and which count once I have applied its list up to `listed`.
  struct Acknowledged {
    uint64_t listed;
    Record record;
  };
  std::deque<Acknowledged> acknowledged;
  void on_applied(uint64_t number);

  // --- my list for it ---
  uint64_t last_number() const { return first_number_ + list_.size() - 1; }
  bool add_change(ListedChange c);  // false: overflow, and it is out of sync from now on
  std::vector<ListedChange> take_acknowledged(uint64_t number);
  const ListedChange* change(uint64_t number) const;
  uint16_t pending_term(const SessionKey& key) const;  // the highest of this session in the list; 0: none
  const ListedChange* highest_pending(const SessionKey& key, Instant now) const;  // of those that are not over
  uint64_t first_number() const { return first_number_; }
  size_t pending() const { return list_.size(); }
  void renumber();  // a new list of what is pending
  void clear_list();
  void restart_waiting(Instant now);  // I was away: nobody is to blame for the time
  uint64_t unsent = 1;                // the first number not yet sent
  unsigned tries = 0;                 // since it last acknowledged one
  Instant send_at = Instant::max();   // next retransmission

  // --- members that it hears ---
  void on_members(const std::vector<MemberId>& members, Instant now);
  bool hears(MemberId m, Instant now) const;

 private:
  struct Asked {
    uint32_t request;
    Instant at;
    bool answered = false;
  };
  struct Given {
    Instant until{};
    SlotRange covers;
    std::vector<SlotRange> except;  // of these
  };
  struct Waiting {
    uint64_t number;
    Given permit;
  };
  static bool permit_for(const std::vector<Given>& given, Slot slot, Instant now);
  void count(const Given& permit);
  std::optional<Instant> heard_;
  Duration rtt_{};
  std::deque<Asked> asked_;
  std::deque<Waiting> waiting_;
  std::vector<Given> given_, given_before_;  // the last ends last
  std::vector<SlotRange> out_of_sync_slots_ = {kAllSlots};
  struct Terms {
    unsigned changes = 0;
    uint16_t highest = 0;
  };
  std::deque<ListedChange> list_;
  std::unordered_map<SessionKey, Terms> terms_;  // of what is in list_
  uint64_t first_number_ = 1;
  std::deque<uint32_t> former_boots_;
  std::map<MemberId, Instant> members_;
};

}  // namespace statecast
