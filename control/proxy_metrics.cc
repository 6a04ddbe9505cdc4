// SPDX-License-Identifier: BSD-3-Clause
// What a proxy's metrics page says, gathered every 100 ms by the control thread.
#include "control/proxy_control.h"

namespace statecast {

void ProxyControl::collect_metrics(Instant now) {
  std::vector<Metric> all;
  for (size_t i = 0; i < kCounterCount; ++i) {
    Counter c = static_cast<Counter>(i);
    all.push_back({metric_name(counter_name(c)), counter_help(c), {}, static_cast<double>(counter(c)), true});
  }
  for (const Node::Counter& c : node_->counters()) {
    all.push_back({metric_name(c.name), c.help, {}, static_cast<double>(c.value), true});
  }
  const QuerierCounters& q = querier_->counters();
  auto counted = [&](const char* name, const char* help, uint64_t value) {
    all.push_back({metric_name(name), help, {}, static_cast<double>(value), true});
  };
  counted("querier.asked.questions", "Questions about a session that the directory was asked.", q.questions);
  counted("querier.refused.full.questions", "Questions refused because too many were out.", q.questions_full);
  counted("querier.sent.queries", "Queries sent to replicas.", q.queries);
  counted("querier.sent.retries", "Queries sent again after a replica had not answered in time.", q.retries);
  counted("querier.lost.packets", "Packets that travelled with a query, and neither went on nor came back.",
          q.packets_lost);
  counted("querier.ignored.stale.answers", "Answers to no open question, or late for a purge.", q.answers_stale);
  counted("querier.ignored.over.leases", "Leases that were over when they arrived.", q.leases_over);
  counted("querier.taken.entries", "Cache entries that came with a member's packet.", q.entries);
  counted("querier.refused.entries", "Such entries that were not taken: another boot, a purge since, or no echo.",
          q.entries_refused);
  counted("querier.ignored.repeated.entries", "Such entries that had come before.", q.entries_repeated);
  counted("querier.taken.purges", "Entries withdrawn by the directory.", q.purges);
  SessionCache::Stats cache = setup_.cache->stats();
  counted("cache.evicted.entries", "Live entries that made room for others in a full session cache.", cache.evicted);
  counted("cache.refused.no_room.entries", "Entries not taken because the session cache had no room.",
          cache.insert_failed);
  const Neighbours::Losses& lost = setup_.neighbours->losses();
  counted("neighbours.refused.full.addresses", "Next hops not looked for because the table was full.", lost.addresses);
  counted("neighbours.drop.queue_full.frames", "ARP and neighbour discovery not sent because too much waited.",
          lost.frames);
  auto gauge = [&](const char* name, const char* help, double value) {
    all.push_back({metric_name(name), help, {}, value, false});
  };
  NodeStatus node = node_->status(now);
  const Snapshot& s = setup_.board->newest();
  double reachable = 0, heard = 0;
  for (size_t i = 0; i < s.peers.size(); ++i) {
    (s.layout->peers[i].is_member() ? reachable : heard) += s.peers[i].reachable ? 1 : 0;
  }
  gauge("directory.in_sync", "1 while this replica is in sync in all of its slots.", node.in_sync);
  gauge("directory.view_revision", "Revision of the view that this node is in.", node.view.revision);
  gauge("directory.slots", "Slots of which this node is a replica.", static_cast<double>(node.slots));
  gauge("directory.slots_out_of_sync", "Of these, slots that it has yet to be handed.",
        static_cast<double>(node.slots_out_of_sync));
  gauge("directory.degraded", "1 while fewer than W replicas are reachable.", node.degraded);
  gauge("directory.partitioned", "1 while no other proxy is heard.", partitioned_);
  gauge("directory.records", "Mappings held or placed.", static_cast<double>(node.records));
  gauge("directory.tombstones", "Tombstones held.", static_cast<double>(node.tombstones));
  gauge("cache.entries", "Entries in the session cache.", static_cast<double>(cache.entries));
  gauge("cache.negative", "Negative entries.", static_cast<double>(cache.negative));
  gauge("members.reachable", "Members heard within the last second.", reachable);
  gauge("proxies.heard", "Other proxies heard within the last second.", heard);
  const Summaries::Status summaries = summaries_->status(now);
  gauge("pressure", "1 while so many packets are of unknown sessions that summaries say which are worth a question.",
        summaries_->following());
  gauge("summaries.fresh", "Under pressure: replicas whose summaries count now.", static_cast<double>(summaries.fresh));
  gauge("summaries.bytes", "Memory of the summaries.", static_cast<double>(summaries.bytes));
  gauge("questions", "Questions to the directory that are out.", static_cast<double>(querier_->outstanding()));
  add_membership_metrics(all);
  std::lock_guard lock(metrics_mutex_);
  metrics_ = std::move(all);
}

std::vector<Metric> ProxyControl::metrics() const {
  std::lock_guard lock(metrics_mutex_);
  return metrics_;
}

}  // namespace statecast
