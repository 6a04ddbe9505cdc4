// SPDX-License-Identifier: BSD-3-Clause
#include "tools/agent/member_sessions.h"

namespace statecast {

namespace {

// How far from the awaited numbers a client's segment may lie: the largest window that TCP can scale to is 2^30, but
// what spends a byte bucket should be near. 4 MiB is what kernels use unless told otherwise.
constexpr int32_t kWindowMax = 4 << 20;

int32_t ahead(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a - b);
}  // of b, in sequence space

}  // namespace

const char* to_string(SessionPhase p) {
  switch (p) {
    case SessionPhase::syn: return "syn";
    case SessionPhase::half_open: return "half_open";
    case SessionPhase::established: return "established";
    case SessionPhase::closing: return "closing";
    case SessionPhase::udp_new:
    case SessionPhase::udp: return "udp";
  }
  return "unknown";
}

TcpSegment tcp_segment(Bytes packet, const ParsedPacket& p) {
  TcpSegment t;
  Reader r(packet.subspan(p.l4_offset));
  r.bytes(4);  // ports
  t.sequence = r.u32();
  t.acknowledgement = r.u32();
  t.flags = p.tcp_flags;
  t.length = static_cast<uint32_t>(p.l3_offset + p.l3_length - p.payload_offset);
  if (t.flags & 0x03) t.length += (t.flags & 0x01) + (t.syn() ? 1 : 0);  // FIN and SYN take one each
  return t;
}

bool completes_handshake(const MemberSession& s, const TcpSegment& t) {
  return s.phase == SessionPhase::half_open && t.ack() && !t.syn() && !t.rst() &&
         t.acknowledgement == s.syn_ack_sequence + 1;
}

bool is_in_window(const MemberSession& s, const TcpSegment& t) {
  if (!s.kernel_seen || !t.ack()) return false;
  int32_t unsent = ahead(t.acknowledgement, s.kernel_next);
  int32_t offset = ahead(t.sequence, s.kernel_ack);
  return unsent <= 0 && unsent >= -kWindowMax && offset >= -kWindowMax && offset <= kWindowMax;
}

void note_kernel_tcp(MemberSession& s, const TcpSegment& t) {
  if (t.rst()) return;
  uint32_t next = t.sequence + t.length;
  if (!s.kernel_seen || ahead(next, s.kernel_next) > 0) s.kernel_next = next;
  if (t.ack()) s.kernel_ack = t.acknowledgement;
  s.kernel_seen = true;
}

bool is_reset_of_syn(const MemberSession& s, const TcpSegment& t) {
  return s.phase == SessionPhase::syn && t.rst() && t.ack() && t.acknowledgement == s.syn_sequence + 1;
}

MemberSessions::MemberSessions(const KeyedHash::Key& key, size_t sessions_max, size_t handshakes_max)
    : sessions_max_(sessions_max), handshakes_max_(handshakes_max), table_(1024, KeyedHash(key)) {}

MemberSession* MemberSessions::find(const SessionId& id) {
  auto at = table_.find(id);
  return at == table_.end() ? nullptr : at->second.get();
}

const MemberSession* MemberSessions::find(const SessionId& id) const {
  auto at = table_.find(id);
  return at == table_.end() ? nullptr : at->second.get();
}

MemberSession* MemberSessions::create(const SessionId& id, SessionPhase phase) {
  if (table_.size() >= sessions_max_) return nullptr;
  bool handshake = phase == SessionPhase::syn || phase == SessionPhase::half_open;
  if (handshake && count(SessionPhase::syn) + count(SessionPhase::half_open) >= handshakes_max_) return nullptr;
  auto s = std::make_unique<MemberSession>();
  s->id = id;
  s->phase = phase;
  ++counts_[static_cast<size_t>(phase)];
  return table_.emplace(id, std::move(s)).first->second.get();
}

void MemberSessions::set_phase(MemberSession& s, SessionPhase phase) {
  --counts_[static_cast<size_t>(s.phase)];
  ++counts_[static_cast<size_t>(phase)];
  s.phase = phase;
}

void MemberSessions::erase(const SessionId& id) {
  auto at = table_.find(id);
  if (at == table_.end()) return;
  --counts_[static_cast<size_t>(at->second->phase)];
  table_.erase(at);
}

}  // namespace statecast
