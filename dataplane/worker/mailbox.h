// SPDX-License-Identifier: BSD-3-Clause
// Mailboxes between the control thread and the workers: notes (worker to control) and orders (control to worker), each
// in a ring of its own for what is urgent, so that a revocation never waits behind data or questions.
//
//   WorkerLink& link = *links[w];
//   link.send_message(peer, bytes, Urgency::high);         // control: worker w seals and sends it
//   Note notes[32];  size_t n = link.take(notes, 32);      // control: urgent ones first
//   for (...) { use(note_bytes(notes[i])); link.release(notes[i]); }
//
// Threads: one worker and one control thread per link. Ownership: a note or order that carries a packet hands it over;
// control gives it back with release().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "dataplane/envelope/envelope.h"
#include "dataplane/session/session_id.h"
#include "dataplane/worker/counters.h"
#include "dataplane/worker/snapshot.h"

struct rte_mbuf;
struct rte_ring;
struct rte_mempool;

namespace statecast {

// From a worker to the control thread.
struct Note {
  enum class Kind : uint8_t {
    ask,              // key, group; refill: a live entry asks again; packet: travels with the question
    not_mine,         // key, group, sender, envelope.options.not_mine: drop the entry, then ask
    lease,            // key, group, sender, envelope.options.lease
    forget_negative,  // key
    message,          // envelope (payload included), from: a verified message
    hello,            // envelope (payload included), from
    unverified,       // sender (as claimed), from: an envelope that did not verify
    neighbour,        // bytes: an ARP or neighbour discovery frame that came in at `port`
    want_neighbour,   // address: a client's next hop that is not known
  };
  Kind kind = Kind::ask;
  bool refill = false;
  uint8_t worker = 0;
  uint16_t port = 0;
  GroupId group;
  SessionKey key;
  NodeId sender;
  IpAddress address;
  Endpoint from;
  Envelope envelope;
  rte_mbuf* packet = nullptr;
};
Bytes note_bytes(const Note& note);  // of its packet
// A packet with more bytes does not travel with a question, which has to fit a datagram.
inline constexpr size_t kTravelBytesMax = 1330;

// From the control thread to a worker.
struct Order {
  enum class Kind : uint8_t {
    message,   // payload for `to`, group 0: seal and send
    datagram,  // a ready envelope for `at`, next hop `hop`
    frame,     // a ready frame, out of hop.port
    deliver,   // a member's packet of `group` for its client (insertAndForward)
    resolved,  // the question about `key` was answered (rerun) or given up
    go_on,     // a client's packet that has travelled with a question and come back
    forward,   // another proxy's client's packet, for the member `to` of `group`; replies go to `ingress`
  };
  Kind kind = Kind::message;
  bool rerun = false;
  NodeId to;
  GroupId group;
  ProxyId ingress;
  SessionKey key;
  Endpoint at;
  NextHop hop;
  rte_mbuf* packet = nullptr;
};

enum class Urgency : uint8_t { normal, high };

// Wakes the control thread, which sleeps in poll() on fd(). A worker pays a system call only if it really sleeps.
class Wakeup {
 public:
  Wakeup();
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  int fd() const { return fd_; }
  void about_to_sleep() { sleeping_.store(true, std::memory_order_seq_cst); }  // then look at the mailboxes once more
  void awake();                                                                // control, after poll
  void wake();                                                                 // anybody

 private:
  int fd_;
  std::atomic<bool> sleeping_{false};
};

class WorkerLink {
 public:
  // REQUIRES: create_pool has made the packet buffers. `urgent(message)`: which verified messages go before the others
  // (the control side knows their types).
  static Result<std::unique_ptr<WorkerLink>> create(const std::string& name, Wakeup* wakeup,
                                                    bool (*urgent)(Bytes message));
  ~WorkerLink();

  // --- control thread; false: no room, counted in counters() ---
  bool send_message(NodeId to, Bytes message, Urgency urgency);
  bool send_datagram(const Endpoint& at, const NextHop& hop, Bytes envelope);
  bool send_frame(uint16_t port, Bytes frame);
  bool deliver(GroupId group, Bytes packet);
  bool resolved(const SessionKey& key, bool rerun);
  bool go_on(Bytes packet);
  bool forward(MemberId to, GroupId group, ProxyId ingress, Bytes packet);
  size_t take(Note out[], size_t n);
  void release(Note& note);
  bool empty() const;
  const Counters& counters() const { return counters_; }

  // --- worker ---
  bool note(const Note& note);
  size_t orders(Order out[], size_t n);

 private:
  WorkerLink() = default;
  bool order(Order order, Bytes bytes, Urgency urgency);

  rte_mempool* pool_ = nullptr;
  Wakeup* wakeup_ = nullptr;
  bool (*urgent_)(Bytes) = nullptr;
  rte_ring* notes_[2] = {};  // by Urgency
  rte_ring* orders_[2] = {};
  Counters counters_;  // control thread's
};

}  // namespace statecast
