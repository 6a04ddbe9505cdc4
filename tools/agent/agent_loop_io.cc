// SPDX-License-Identifier: BSD-3-Clause
#include "tools/agent/agent_loop_io.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tools/agent/state_io.h"

namespace statecast {

namespace {

// A descriptor that has been busy gives the others their turn after this many bursts.
constexpr int kBurstsPerTurn = 4;

// Until the deadline, rounded up: a sleep that ends a moment early only comes back here.
int timeout_ms(Instant deadline, Instant now) {
  if (deadline <= now) return 0;
  return static_cast<int>(std::min<int64_t>(to_ms(deadline - now) + 1, 1'000));
}

}  // namespace

Result<> AgentLoop::run() {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  sigprocmask(SIG_BLOCK, &stop, nullptr);
  int signals = signalfd(-1, &stop, SFD_NONBLOCK | SFD_CLOEXEC);
  int poller = epoll_create1(EPOLL_CLOEXEC);
  if (signals < 0 || poller < 0) return fail(Code::system, std::string("event loop: ") + std::strerror(errno));
  for (int fd : {signals, parts_.udp.fd(), parts_.tun.fd(), parts_.server.fd()}) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.fd = fd;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) < 0)
      return fail(Code::system, std::string("event loop: ") + std::strerror(errno));
  }

  Result<> ended;
  for (bool running = true; running;) {
    Instant now = MonotonicClock::now();
    std::array<epoll_event, 4> events;
    int n = epoll_wait(poller, events.data(), static_cast<int>(events.size()),
                       timeout_ms(parts_.core.next_deadline(), now));
    for (int i = 0; i < n; ++i) {
      int fd = events[static_cast<size_t>(i)].data.fd;
      bool broken = events[static_cast<size_t>(i)].events & (EPOLLERR | EPOLLHUP);
      // The device was deleted by somebody: it will not come back, and would be reported for ever.
      if (fd == parts_.tun.fd() && broken) {
        ended = fail(Code::system, "the TUN device is gone: was it deleted?");
        running = false;
        break;
      }
      if (fd == parts_.udp.fd())
        from_proxies();
      else if (fd == parts_.tun.fd())
        from_kernel();
      else if (fd == parts_.server.fd())
        parts_.server.serve();
      else
        running = false;
    }
    now = MonotonicClock::now();
    if (parts_.core.next_deadline() <= now) parts_.core.on_deadline(now);
    carry_out(now);
  }
  close(poller);
  close(signals);
  return ended;
}

void AgentLoop::from_proxies() {
  for (int burst = 0; burst < kBurstsPerTurn; ++burst) {
    Instant now{};
    bool more = parts_.udp.receive([&](Bytes datagram, const Endpoint& from) {
      if (now == Instant{}) now = MonotonicClock::now();  // after the burst was received
      parts_.core.on_tunnel_datagram(datagram, from, now);
    });
    if (!more) return;
    carry_out(now);
  }
}

void AgentLoop::from_kernel() {
  for (int burst = 0; burst < kBurstsPerTurn; ++burst) {
    Instant now = MonotonicClock::now();
    bool more = parts_.tun.read([&](Bytes packet) { parts_.core.on_tun_packet(packet, now); });
    if (!more) return;
    carry_out(now);
  }
}

// In the core's order, but for the disk: a revocation is in force and on its way before it is written.
void AgentLoop::carry_out(Instant now) {
  bool save = false, read = false, raised = false;
  AgentCounters& counters = parts_.core.counters();
  for (const AgentOutput& o : parts_.core.take_outputs(now)) {
    switch (o.kind) {
      case AgentOutput::Kind::to_proxy: parts_.udp.queue(o.bytes, o.to); break;
      case AgentOutput::Kind::to_kernel: parts_.tun.write(o.bytes); break;
      case AgentOutput::Kind::destroy_socket: destroy_socket(o.session); break;
      case AgentOutput::Kind::read_sockets: read = true; break;
      case AgentOutput::Kind::save_revocations: save = true; break;
      case AgentOutput::Kind::save_incarnation: raised = true; break;
    }
  }
  if (size_t lost = parts_.udp.flush()) counters.add(AgentCounter::tunnel_tx_drop_socket_full, lost);
  if (size_t lost = parts_.tun.flush()) counters.add(AgentCounter::tun_drop_write, lost);
  parts_.commands.pass_events_on();
  if (save || (read && disk_failed_)) save_revocations();  // the table is read each second: so is this tried again
  if (raised) save_incarnation();
  if (read) read_sockets();
}

void AgentLoop::destroy_socket(const SessionTuple& session) {
  auto done = parts_.sockets.destroy(session);
  if (done && *done) parts_.core.counters().add(AgentCounter::sockets_destroyed);
  if (done) return;
  parts_.core.counters().add(AgentCounter::sockets_destroy_failed);
  spdlog::warn("socket of {} at {}: {}", to_string(session.client), to_string(session.server), done.error().message);
}

void AgentLoop::read_sockets() {
  Instant taken_at = MonotonicClock::now();
  auto table = parts_.sockets.read();
  if (!table) return spdlog::warn("{}", table.error().message);  // the next second asks again
  Instant now = MonotonicClock::now();
  parts_.core.on_sockets(*table, taken_at, now);
  carry_out(now);
}

// Should the disk not take it, the next start asks the fleet again.
void AgentLoop::save_incarnation() {
  const uint32_t incarnation = parts_.core.incarnation();
  spdlog::warn("the fleet knows of a later start of this member: incarnation {} from now on; was state_dir lost?",
               incarnation);
  if (auto done = statecast::save_incarnation(parts_.state_dir, incarnation); !done)
    spdlog::error("the incarnation was not stored: {}", done.error().message);
}

void AgentLoop::save_revocations() {
  auto done = statecast::save_revocations(parts_.state_dir, parts_.core.revocations().left(MonotonicClock::now()));
  if (!done && !disk_failed_)
    spdlog::error("revocations are in force, but would not outlive a restart: {}", done.error().message);
  disk_failed_ = !done;
}

}  // namespace statecast
