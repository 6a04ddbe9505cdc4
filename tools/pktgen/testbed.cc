// SPDX-License-Identifier: BSD-3-Clause
#include "tools/pktgen/testbed.h"

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sodium/randombytes.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "tools/pktgen/search.h"

namespace statecast {

namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

template <class T>
T random_value() {
  T v{};
  randombytes_buf(&v, sizeof v);
  return v;
}

// A pool whose packets are all zero: templates write headers and mark, the rest stays as it is.
Result<rte_mempool*> zero_pool(const std::string& name, uint32_t packets, uint16_t mtu) {
  uint32_t room = RTE_PKTMBUF_HEADROOM + std::max<uint32_t>(2048, mtu + 64u);
  rte_mempool* pool =
      rte_pktmbuf_pool_create(name.c_str(), packets, 256, 0, static_cast<uint16_t>(room), SOCKET_ID_ANY);
  if (!pool)
    return fail(Code::system, "no memory for " + std::to_string(packets) + " packets (" + rte_strerror(rte_errno) +
                                  "): raise dpdk.memory_mb or lower dpdk.packet_buffers");
  rte_mempool_obj_iter(
      pool,
      [](rte_mempool*, void*, void* object, unsigned) {
        auto* m = static_cast<rte_mbuf*>(object);
        std::memset(m->buf_addr, 0, m->buf_len);
      },
      nullptr);
  return pool;
}

bool has_link(uint16_t port) {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

// Tens of seconds since 2026: a number that rises from run to run and lasts for five years.
uint32_t incarnation_now() {
  constexpr time_t kEpoch = 1'767'225'600;
  time_t now = time(nullptr);
  return static_cast<uint32_t>(std::clamp<int64_t>((now - kEpoch) / 10, 1, (1 << 24) - 1));
}

}  // namespace

Testbed::Testbed(const PktgenConfig& config) : config_(config), rng_(random_value<uint64_t>()) {}

Testbed::~Testbed() {
  // Each one's word that it has ended, and not only DPDK's, makes what it wrote visible here.
  for (unsigned i = 0; i < launched_; ++i) workers_[i]->order(Generator::Do::quit);
  for (unsigned i = 0; i < launched_; ++i)
    while (!workers_[i]->obeyed()) std::this_thread::sleep_for(100us);
  if (launched_ != 0) rte_eal_mp_wait_lcore();
  workers_.clear();
  if (eal_started_) stop_ports(ports_);
}

Result<std::unique_ptr<Testbed>> Testbed::start(const PktgenConfig& config, const std::atomic<bool>& stop) {
  std::unique_ptr<Testbed> bed(new Testbed(config));
  if (auto r = bed->start_all(stop); !r) return fail(r.error());
  return bed;
}

Result<> Testbed::start_all(const std::atomic<bool>& stop) {
  auto plan = make_plan(config_);
  if (!plan) return fail(plan.error());
  plan_ = std::move(*plan);
  sessions_ = std::make_unique<SessionStates>(plan_);

  const PktgenDpdkConfig& d = config_.dpdk;
  auto count = static_cast<unsigned>(d.cores.size());
  bool apart = plan_.member_port >= 0 && count > 1;  // the last worker plays the members and nothing else
  senders_ = apart ? count - 1 : count;
  EalSetup eal{.file_prefix = d.file_prefix, .huge_pages = d.huge_pages, .memory_mb = d.memory_mb, .cores = d.cores};
  for (const auto& p : config_.ports) eal.devices.push_back(p.device);
  if (auto r = start_eal(eal); !r) return fail(r.error());
  eal_started_ = true;

  uint16_t mtu = 0;
  for (const auto& p : config_.ports) mtu = std::max(mtu, p.mtu);
  auto pool = create_pool(d.packet_buffers, mtu);
  if (!pool) return fail(pool.error());
  for (size_t i = 0; i < config_.ports.size(); ++i) {
    const PktgenPortConfig& p = config_.ports[i];
    bool member_port = static_cast<int>(i) == plan_.member_port;
    auto port = start_port({.device = p.device,
                            .queues = static_cast<uint16_t>(member_port ? 1 : senders_),
                            .mtu = p.mtu,
                            .rx_descriptors = d.rx_descriptors,
                            .tx_descriptors = d.tx_descriptors},
                           count, *pool);
    if (!port) return fail(port.error().in("port " + p.name));
    // A generator takes whatever comes back, whomever it is addressed to.
    rte_eth_promiscuous_enable(port->port);
    LinkOptions link{.mac = port->mac, .addresses = p.addresses, .gateway = p.gateway, .peer = p.peer_mac};
    if (member_port)
      for (const auto& m : config_.member_side.members) link.addresses.push_back(m.address);
    links_.push_back(std::make_unique<Link>(std::move(link)));
    ports_.push_back(std::move(*port));
  }
  if (auto r = wait_for_links(stop); !r) return r;
  return start_workers();
}

// A memif client has none until the other side is there, a NIC none until it has negotiated; what is sent before is
// lost.
Result<> Testbed::wait_for_links(const std::atomic<bool>& stop) {
  Instant end = MonotonicClock::now() + config_.setup_patience;
  for (size_t i = 0; i < ports_.size(); ++i) {
    while (!has_link(ports_[i].port)) {
      if (MonotonicClock::now() >= end || stop.load(std::memory_order_relaxed))
        return fail(Code::unavailable, "port " + config_.ports[i].name + ": has no link");
      std::this_thread::sleep_for(10ms);
    }
  }
  return {};
}

Result<> Testbed::start_members() {
  const PktgenMemberSideConfig& c = config_.member_side;
  MemberSideOptions o{.members = {},
                      .proxies = c.proxies,
                      .group = c.group,
                      .incarnation = c.incarnation != 0 ? c.incarnation : incarnation_now(),
                      .verify_every = c.verify_every,
                      .seed = random_value<uint64_t>(),
                      .hash_key = random_value<KeyedHash::Key>(),
                      .plan = &plan_,
                      .sessions = sessions_.get(),
                      .link = links_[static_cast<size_t>(plan_.member_port)].get(),
                      .counters = &accounts_.back()->worker()};
  for (const auto& m : c.members) {
    auto key = read_node_key(m.node_key);
    if (!key) return fail(key.error().in("member_side"));
    o.members.push_back({key->member, key->key, m.address});
  }
  members_ = std::make_unique<MemberSide>(std::move(o), MonotonicClock::now());
  return {};
}

Result<> Testbed::start_workers() {
  auto count = static_cast<unsigned>(config_.dpdk.cores.size());
  double cycles_per_ns = static_cast<double>(rte_get_tsc_hz()) / 1e9;
  for (unsigned i = 0; i < count; ++i)
    accounts_.push_back(std::make_unique<Accounts>(plan_.streams.size(), count, cycles_per_ns));
  if (plan_.member_port >= 0)
    if (auto r = start_members(); !r) return r;

  uint16_t mtu = 0;
  for (const auto& p : config_.ports) mtu = std::max(mtu, p.mtu);
  for (unsigned i = 0; i < count; ++i) {
    auto pool = zero_pool("send" + std::to_string(i), config_.dpdk.packet_buffers, mtu);
    if (!pool) return fail(pool.error());
    auto attack_pool = zero_pool("other" + std::to_string(i), config_.dpdk.packet_buffers, mtu);
    if (!attack_pool) return fail(attack_pool.error());
    GeneratorSetup setup{.index = i,
                         .senders = senders_,
                         .workers = count,
                         .plan = &plan_,
                         .sessions = sessions_.get(),
                         .ports = {},
                         .links = {},
                         .members = i + 1 == count ? members_.get() : nullptr,
                         .answer_every = config_.member_side.answer_every,
                         .setup_per_second = config_.setup_per_second,
                         .pool = *pool,
                         .attack_pool = *attack_pool,
                         .trial = &trial_,
                         .accounts = accounts_[i].get(),
                         .seed = config_.seed,
                         .idle_sleep = config_.dpdk.idle_sleep};
    for (size_t p = 0; p < ports_.size(); ++p) {
      WorkerPort port = ports_[p].for_worker(i);
      if (static_cast<int>(p) == plan_.member_port) port.rx_queue = i + 1 == count ? 0 : -1;
      setup.ports.push_back(port);
      setup.links.push_back(links_[p].get());
    }
    workers_.push_back(std::make_unique<Generator>(setup));
  }
  for (unsigned i = 0; i < count; ++i) {
    int e = rte_eal_remote_launch(
        [](void* g) {
          static_cast<Generator*>(g)->run();
          return 0;
        },
        workers_[i].get(), i + 1);
    if (e) return fail(Code::system, "worker " + std::to_string(i) + " did not start: " + rte_strerror(-e));
    ++launched_;
  }
  return {};
}

void Testbed::order(Generator::Do what) {
  for (auto& w : workers_) w->order(what);
  for (auto& w : workers_)
    while (!w->obeyed()) std::this_thread::sleep_for(100us);
}

void Testbed::pause(Duration d, const std::atomic<bool>& stop) const {
  Instant end = MonotonicClock::now() + d;
  while (!stop.load(std::memory_order_relaxed)) {
    Duration left = end - MonotonicClock::now();
    if (left <= Duration{}) return;
    std::this_thread::sleep_for(std::min<Duration>(left, 20ms));
  }
}

std::vector<const Accounts*> Testbed::accounts() const {
  std::vector<const Accounts*> out;
  for (auto& a : accounts_) out.push_back(a.get());
  return out;
}

// --- before the first packet ---

Result<> Testbed::set_up(const Say& live, const std::atomic<bool>& stop) {
  Instant end = MonotonicClock::now() + config_.setup_patience;
  auto until = [&](auto condition) {
    while (!condition() && MonotonicClock::now() < end && !stop.load(std::memory_order_relaxed))
      std::this_thread::sleep_for(10ms);
    return condition();
  };
  for (size_t i = 0; i < links_.size(); ++i)
    if (!until([&] { return links_[i]->ready(); }))
      return fail(Code::unavailable, "port " + config_.ports[i].name + ": the gateway " +
                                         to_string(config_.ports[i].gateway) + " does not say its MAC address");
  if (members_ && !until([&] { return members_->ready(); }))
    return fail(Code::unavailable, "member_side: not every proxy answers the members' hellos");

  auto missing = [&] {
    uint64_t n = 0;
    for (const StreamPlan& s : plan_.streams)
      if (s.setup != PktgenStreamConfig::Setup::none) n += s.sessions - sessions_->ready(s.index);
    return n;
  };
  uint64_t all = missing();
  if (all == 0) return {};
  order(Generator::Do::set_up);
  Instant said = MonotonicClock::now();
  until([&] {
    if (MonotonicClock::now() - said >= 1s) {
      said += 1s;
      live("setting up: " + std::to_string(all - missing()) + " of " + std::to_string(all) + " sessions");
    }
    return missing() == 0;
  });
  order(Generator::Do::rest);
  if (uint64_t n = missing(); n != 0 && !stop.load(std::memory_order_relaxed))
    return fail(Code::unavailable,
                std::to_string(n) + " of " + std::to_string(all) + " sessions were not set up within setup_patience");
  return {};
}

// --- measuring ---

void Testbed::prepare(std::optional<double> total, bool ramps) {
  trial_ = {.nonce = rng_.next(), .packets_per_second = {}, .ramps = ramps};
  // Shares of `total`: by the profile's rates; a stream without one counts as much as the mean of those that have.
  double sum = 0, limited = 0, good = 0;
  for (const StreamPlan& s : plan_.streams) {
    if (!s.is_good()) continue;
    good += 1;
    if (std::isinf(s.pacing.packets_per_second)) continue;
    limited += 1;
    sum += s.pacing.packets_per_second;
  }
  double mean = limited > 0 ? sum / limited : 1;
  double all = sum + (good - limited) * mean;
  for (const StreamPlan& s : plan_.streams) {
    double rate = s.pacing.packets_per_second;
    if (total && s.is_good()) rate = std::isinf(*total) ? kUnlimited : *total * (std::isinf(rate) ? mean : rate) / all;
    trial_.packets_per_second.push_back(rate);
  }
  order(Generator::Do::prepare);
}

Trial Testbed::measure(const std::string& what, std::optional<double> total, const Say& live,
                       const std::atomic<bool>& stop) {
  Trial trial;
  trial.what = what;
  if (config_.warm_up > Duration{}) {
    prepare(total, false);
    order(Generator::Do::traffic);
    pause(config_.warm_up, stop);
    order(Generator::Do::rest);
    pause(config_.drain, stop);
  }
  prepare(total, !total.has_value());
  for (const StreamPlan& s : plan_.streams)
    if (s.is_good()) trial.rate_asked += trial_.packets_per_second[s.index];
  order(Generator::Do::traffic);
  watch(trial, live, stop);
  order(Generator::Do::rest);
  pause(config_.drain, stop);
  collect(trial);
  return trial;
}

// A line and a sample each second (ten samples in a short one) until the time is over.
void Testbed::watch(Trial& trial, const Say& live, const std::atomic<bool>& stop) {
  Instant start = MonotonicClock::now(), end = start + config_.duration;
  Duration step = std::min<Duration>(1s, config_.duration / 10);
  struct Seen {
    uint64_t sent = 0, received = 0, bytes = 0;
  } before;
  Instant last = start;
  for (Instant next = start + step; last < end && !stop.load(std::memory_order_relaxed); next += step) {
    pause(next - MonotonicClock::now(), stop);
    Seen now;
    auto all = accounts();
    for (const StreamPlan& s : plan_.streams) {
      if (!s.is_good()) continue;
      for (Flow flow : {Flow::forward, Flow::answer}) {
        StreamTotals t = totals(all, s.index, flow);
        now.sent += t.sent;
        now.received += t.received;
        now.bytes += t.received_bytes;
      }
    }
    Instant at = MonotonicClock::now();
    double seconds = std::chrono::duration<double>(at - last).count();
    Sample sample{.at_seconds = std::chrono::duration<double>(at - start).count(),
                  .sent_per_second = static_cast<double>(now.sent - before.sent) / seconds,
                  .received_per_second = static_cast<double>(now.received - before.received) / seconds,
                  .received_bits_per_second = static_cast<double>(now.bytes - before.bytes) * 8 / seconds};
    trial.samples.push_back(sample);
    before = now;
    last = at;
    uint64_t away = now.sent > now.received ? now.sent - now.received : 0;
    Histogram latency;
    for (const StreamPlan& s : plan_.streams)
      for (const Accounts* a : all)
        if (s.is_good())
          for (Flow flow : {Flow::forward, Flow::answer}) latency.add(a->counters(s.index, flow).latency);
    char text[256];
    std::snprintf(text, sizeof text, "%6.1f s  sent %s  received %s  %s  not (yet) here %llu  p50 %s  p99.9 %s",
                  sample.at_seconds, with_prefix(sample.sent_per_second, "pps").c_str(),
                  with_prefix(sample.received_per_second, "pps").c_str(),
                  with_prefix(sample.received_bits_per_second, "bit/s").c_str(), static_cast<unsigned long long>(away),
                  nanoseconds_text(static_cast<double>(latency.percentile(50))).c_str(),
                  nanoseconds_text(static_cast<double>(latency.percentile(99.9))).c_str());
    live(text);
  }
}

void Testbed::collect(Trial& trial) const {
  auto all = accounts();
  for (auto& w : workers_) trial.seconds = std::max(trial.seconds, w->sending_seconds());
  Histogram whole;
  for (const StreamPlan& s : plan_.streams) {
    for (Flow flow : {Flow::forward, Flow::answer}) {
      FlowResult f{.stream = s.name, .flow = flow, .attack = !s.is_good(), .totals = totals(all, s.index, flow)};
      if (flow == Flow::answer && f.totals.sent == 0 && f.totals.received == 0) continue;
      Histogram h;
      for (const Accounts* a : all) h.add(a->counters(s.index, flow).latency);
      f.latency = latency_of(h);
      if (!f.attack) whole.add(h);
      if (flow == Flow::forward)
        for (auto& w : workers_) f.not_sent += w->forgiven(s.index);
      trial.flows.push_back(std::move(f));
    }
  }
  trial.latency = latency_of(whole);
#define X(name, text)                                            \
  {                                                              \
    uint64_t n = 0;                                              \
    for (const Accounts* a : all) n += a->worker().name.value(); \
    trial.counters.push_back({#name, n});                        \
  }
  STATECAST_PKTGEN_WORKER_COUNTERS(X)
#undef X
}

Results Testbed::measure_all(bool search, const Say& live, const std::atomic<bool>& stop) {
  Results r{.profile = to_yaml(config_),
            .workers = static_cast<unsigned>(config_.dpdk.cores.size()),
            .cycles_per_second = static_cast<double>(rte_get_tsc_hz())};
  if (!search) {
    r.trials.push_back(measure("measurement", std::nullopt, live, stop));
    return r;
  }
  const PktgenSearchConfig& c = config_.search;
  r.searched = true;
  ThroughputSearch machine({.from = c.from.per_second,
                            .to = c.to.unit == RateConfig::Unit::unlimited ? kUnlimited : c.to.per_second,
                            .loss = c.loss_percent / 100,
                            .resolution = c.resolution_percent / 100});
  while (!stop.load(std::memory_order_relaxed)) {
    auto rate = machine.next();
    if (!rate) break;
    Trial t = measure("throughput, trial " + std::to_string(machine.trials() + 1), *rate, live, stop);
    uint64_t forward = t.good(Flow::forward).sent;
    machine.take({.rate_sent = t.seconds > 0 ? static_cast<double>(forward) / t.seconds : 0,
                  .sent = forward + t.good(Flow::answer).sent,
                  .lost = t.lost()});
    live(summary(t));
    r.trials.push_back(std::move(t));
  }
  r.throughput = machine.best();
  r.generator_limited = machine.generator_limited();
  for (double load : c.loads) {
    if (r.throughput <= 0 || stop.load(std::memory_order_relaxed)) break;
    char what[64];
    std::snprintf(what, sizeof what, "latency at %g %%", load);
    r.trials.push_back(measure(what, r.throughput * load / 100, live, stop));
    live(summary(r.trials.back()));
  }
  return r;
}

}  // namespace statecast
