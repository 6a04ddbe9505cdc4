// SPDX-License-Identifier: BSD-3-Clause
// Where the view comes from etcd: the proxy follows it, and says there how far it is.
#include <spdlog/spdlog.h>

#include "control/etcd_io.h"
#include "control/proxy_control.h"
#include "control/snapshot.h"

namespace statecast {

namespace {

std::string names(const View& view) {
  std::string out;
  for (const ViewNode& n : view.nodes()) out += (out.empty() ? "" : ", ") + std::to_string(n.id.value);
  return out;
}

}  // namespace

void ProxyControl::follow_membership(const NodeStatus& node, Instant now) {
  if (!setup_.membership) return;
  MembershipReport report{.revision = node.view.revision, .in_sync = node.in_sync, .heard = {}};
  for (const auto& p : node.peers)
    if (p.heard) report.heard.insert(p.id);
  setup_.membership->report(std::move(report));
  if (auto next = setup_.membership->newer_than(setup_.view.id().revision)) set_view(std::move(*next), now);
}

void ProxyControl::set_view(View next, Instant now) {
  spdlog::info("directory: view {}: proxies {}", next.id().revision, names(next));
  for (const ViewNode& n : next.nodes()) {
    const bool known =
        n.id == setup_.layout->self || setup_.layout->peer_index.find(NodeId::proxy(n.id)) != NodeIndex::kNone;
    if (!known)
      spdlog::error("directory: proxy {} of view {} is not in this proxy's file: its sessions are out of reach",
                    n.id.value, next.id().revision);
  }
  node_->set_view(next, now);
  querier_->set_view(next, now);
  summaries_->set_view(next, now);
  auto layout = std::make_shared<Layout>(*setup_.layout);
  layout->replica_hint = replica_hints(layout->self, next);
  setup_.layout = std::move(layout);
  setup_.view = std::move(next);
  snapshot_stale_ = true;
}

void ProxyControl::add_membership_metrics(std::vector<Metric>& all) const {
  if (!setup_.membership) return;
  const MembershipStatus s = setup_.membership->status();
  auto add = [&](const char* name, const char* help, double value, bool counts) {
    all.push_back({metric_name(name), help, {}, value, counts});
  };
  add("membership.reachable", "1 while etcd answers.", s.reachable, false);
  add("membership.registered", "1 while this proxy is registered in etcd.", s.registered, false);
  add("membership.proxies", "Proxies registered in etcd.", static_cast<double>(s.proxies.size()), false);
  add("membership.waits", "1 while the view should be changed, and is not yet.", !s.waits.empty(), false);
  add("membership.failures.requests", "Requests that etcd did not answer or refused.", static_cast<double>(s.failures),
      true);
  add("membership.leases", "Leases that this proxy took at etcd; more than one after a time without etcd.",
      static_cast<double>(s.leases), true);
  add("membership.proposals", "Views that this proxy proposed.", static_cast<double>(s.proposals), true);
  add("membership.lost.proposals", "Of these, those that another proxy's came before.",
      static_cast<double>(s.lost_proposals), true);
}

}  // namespace statecast
