// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker/mailbox.h"

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>

#include "dataplane/worker/ports.h"

namespace statecast {

namespace {

constexpr unsigned kNotes = 4096, kUrgent = 1024, kOrders = 4096;
static_assert(sizeof(Note) % 4 == 0 && std::is_trivially_copyable_v<Note>);
static_assert(sizeof(Order) % 4 == 0 && std::is_trivially_copyable_v<Order>);

template <class T>
size_t pop(rte_ring* const rings[2], T out[], size_t n) {
  unsigned got = rte_ring_sc_dequeue_burst_elem(rings[1], out, sizeof(T), static_cast<unsigned>(n), nullptr);
  if (got < n) {
    got += rte_ring_sc_dequeue_burst_elem(rings[0], out + got, sizeof(T), static_cast<unsigned>(n - got), nullptr);
  }
  return got;
}

}  // namespace

Bytes note_bytes(const Note& note) {
  if (!note.packet) return {};
  return {rte_pktmbuf_mtod(note.packet, const uint8_t*), note.packet->data_len};
}

Wakeup::Wakeup() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
Wakeup::~Wakeup() {
  close(fd_);
}

void Wakeup::awake() {
  sleeping_.store(false, std::memory_order_relaxed);
  uint64_t n;
  [[maybe_unused]] ssize_t r = read(fd_, &n, sizeof n);  // nonblocking; nothing to read is fine
}

void Wakeup::wake() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!sleeping_.load(std::memory_order_relaxed) || !sleeping_.exchange(false)) return;
  uint64_t one = 1;
  [[maybe_unused]] ssize_t r = write(fd_, &one, sizeof one);
}

Result<std::unique_ptr<WorkerLink>> WorkerLink::create(const std::string& name, Wakeup* wakeup, bool (*urgent)(Bytes)) {
  std::unique_ptr<WorkerLink> link(new WorkerLink);
  link->pool_ = rte_mempool_lookup(kPoolName);
  if (!link->pool_) return fail(Code::system, "no packet buffers yet: create_pool comes first");
  link->wakeup_ = wakeup;
  link->urgent_ = urgent;
  auto ring = [&](const char* kind, size_t size, unsigned count) {
    return rte_ring_create_elem((name + kind).c_str(), static_cast<unsigned>(size), count, SOCKET_ID_ANY,
                                RING_F_SP_ENQ | RING_F_SC_DEQ);
  };
  link->notes_[0] = ring("_notes", sizeof(Note), kNotes);
  link->notes_[1] = ring("_notes_urgent", sizeof(Note), kUrgent);
  link->orders_[0] = ring("_orders", sizeof(Order), kOrders);
  link->orders_[1] = ring("_orders_urgent", sizeof(Order), kUrgent);
  for (rte_ring* r : {link->notes_[0], link->notes_[1], link->orders_[0], link->orders_[1]}) {
    if (!r) return fail(Code::system, "no memory for the mailboxes of " + name + ": raise dpdk.memory_mb");
  }
  return link;
}

WorkerLink::~WorkerLink() {
  Note n;
  while (notes_[0] && notes_[1] && pop(notes_, &n, 1) == 1) release(n);
  Order o;
  while (orders_[0] && orders_[1] && pop(orders_, &o, 1) == 1) rte_pktmbuf_free(o.packet);
  for (rte_ring* r : {notes_[0], notes_[1], orders_[0], orders_[1]}) rte_ring_free(r);
}

bool WorkerLink::order(Order order, Bytes bytes, Urgency urgency) {
  if (!bytes.empty()) {
    order.packet = rte_pktmbuf_alloc(pool_);
    char* at = order.packet ? rte_pktmbuf_append(order.packet, static_cast<uint16_t>(bytes.size())) : nullptr;
    if (!at) {
      rte_pktmbuf_free(order.packet);
      counters_.add(Counter::control_drop_mailbox_full);
      return false;
    }
    std::memcpy(at, bytes.data(), bytes.size());
  }
  if (rte_ring_sp_enqueue_elem(orders_[static_cast<int>(urgency)], &order, sizeof order) != 0) {
    rte_pktmbuf_free(order.packet);
    counters_.add(Counter::control_drop_mailbox_full);
    return false;
  }
  return true;
}

bool WorkerLink::send_message(NodeId to, Bytes message, Urgency urgency) {
  return order({.kind = Order::Kind::message, .to = to}, message, urgency);
}
bool WorkerLink::send_datagram(const Endpoint& at, const NextHop& hop, Bytes envelope) {
  return order({.kind = Order::Kind::datagram, .at = at, .hop = hop}, envelope, Urgency::normal);
}
bool WorkerLink::send_frame(uint16_t port, Bytes frame) {
  return order({.kind = Order::Kind::frame, .hop = {.known = true, .port = port}}, frame, Urgency::normal);
}
bool WorkerLink::deliver(GroupId group, Bytes packet) {
  return order({.kind = Order::Kind::deliver, .group = group}, packet, Urgency::normal);
}
bool WorkerLink::resolved(const SessionKey& key, bool rerun) {
  return order({.kind = Order::Kind::resolved, .rerun = rerun, .key = key}, {}, Urgency::normal);
}

bool WorkerLink::go_on(Bytes packet) {
  return order({.kind = Order::Kind::go_on}, packet, Urgency::normal);
}
// In the order of what is urgent: it must not be sent after the acknowledgement of a revocation that came later.
bool WorkerLink::forward(MemberId to, GroupId group, ProxyId ingress, Bytes packet) {
  return order({.kind = Order::Kind::forward, .to = NodeId::member(to), .group = group, .ingress = ingress}, packet,
               Urgency::high);
}

size_t WorkerLink::take(Note out[], size_t n) {
  return pop(notes_, out, n);
}

void WorkerLink::release(Note& note) {
  rte_pktmbuf_free(note.packet);
  note.packet = nullptr;
}

bool WorkerLink::empty() const {
  return rte_ring_empty(notes_[0]) && rte_ring_empty(notes_[1]);
}

bool WorkerLink::note(const Note& note) {
  bool urgent = note.kind == Note::Kind::message && urgent_ && urgent_(note.envelope.payload);
  if (rte_ring_sp_enqueue_elem(notes_[urgent], const_cast<Note*>(&note), sizeof note) != 0) return false;
  wakeup_->wake();
  return true;
}

size_t WorkerLink::orders(Order out[], size_t n) {
  return pop(orders_, out, n);
}

}  // namespace statecast
