// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/wire.h"

#include <algorithm>

namespace statecast {

const char* to_string(OpenResult r) {
  switch (r) {
    case OpenResult::ok: return "ok";
    case OpenResult::malformed: return "malformed";
    case OpenResult::unknown_peer: return "unknown_peer";
    case OpenResult::bad_tag: return "bad_tag";
    case OpenResult::replayed: return "replayed";
    case OpenResult::hello: return "hello";
  }
  return "?";
}

bool read_head(Bytes d, WireHead& out) {
  if (d.size() < kEnvelopeSizeMin) return false;
  const auto& h = *reinterpret_cast<const EnvelopeHead*>(d.data());  // bytes, whatever their alignment
  if (h.geneve.version_length >> 6 != 0) return false;
  size_t options = size_t(h.geneve.version_length & 0x3f) * 4;
  if (options < kAuthOptionSize || options > d.size() - kGeneveHeaderSize) return false;
  if (!(h.geneve.flags & kGeneveC)) return false;
  const OptionHeader& first = h.auth.header;
  if (first.option_class != Be16::of(kOptionClass) || first.type != kAuthType ||
      (first.length & 0x1f) * 4 != kAuthOptionSize - sizeof(OptionHeader))
    return false;

  bool control = h.geneve.flags & kGeneveO;
  switch (h.geneve.protocol.get()) {
    case 0x0800: out.kind = PayloadKind::ipv4; break;
    case 0x86dd: out.kind = PayloadKind::ipv6; break;
    case kMessageEthertype: out.kind = PayloadKind::message; break;
    default: return false;
  }
  if (control != (out.kind == PayloadKind::message)) return false;
  if (out.kind != PayloadKind::message && options > kInnerOptionsMax) return false;

  out.sender = NodeId{h.auth.sender.get()};
  out.group = GroupId{uint32_t(h.geneve.vni[0]) << 16 | uint32_t(h.geneve.vni[1]) << 8 | h.geneve.vni[2]};
  out.stamp.boot = h.auth.boot.get();
  uint64_t timestamp;  // and two bytes before it
  std::memcpy(&timestamp, d.data() + offsetof(EnvelopeHead, auth.timestamp) - 2, sizeof timestamp);
  out.stamp.timestamp_us = __builtin_bswap64(timestamp) & ((uint64_t(1) << 48) - 1);
  out.stream = h.auth.stream;
  out.key_epoch = h.auth.key_epoch;
  out.sequence = h.auth.sequence.get();
  out.options = d.subspan(kEnvelopeSizeMin, options - kAuthOptionSize);
  out.payload = d.subspan(kGeneveHeaderSize + options);
  return !out.payload.empty();
}

size_t write_envelope(SipKey key, const WireHead& h, const EnvelopeOptions& options, MutableBytes out) {
  size_t size = kEnvelopeSizeMin + options_size(options);
  uint16_t protocol = h.kind == PayloadKind::ipv4 ? 0x0800 : h.kind == PayloadKind::ipv6 ? 0x86dd : kMessageEthertype;
  EnvelopeHead head{};
  head.geneve.version_length = static_cast<uint8_t>((size - kGeneveHeaderSize) / 4);
  head.geneve.flags = h.kind == PayloadKind::message ? kGeneveC | kGeneveO : kGeneveC;
  head.geneve.protocol = Be16::of(protocol);
  for (int i = 0; i < 3; ++i) head.geneve.vni[i] = static_cast<uint8_t>(h.group.value >> (16 - 8 * i));
  head.auth.header = {Be16::of(kOptionClass), kAuthType, (kAuthOptionSize - sizeof(OptionHeader)) / 4};
  head.auth.sender = Be32::of(h.sender.value);
  head.auth.boot = Be32::of(h.stamp.boot);
  head.auth.stream = h.stream;
  head.auth.key_epoch = h.key_epoch;
  for (int i = 0; i < 6; ++i) head.auth.timestamp[i] = static_cast<uint8_t>(h.stamp.timestamp_us >> (40 - 8 * i));
  head.auth.sequence = Be64::of(h.sequence);

  out = out.last(size);
  std::memcpy(out.data(), &head, sizeof head);
  if (size > sizeof head) {
    Writer w(out.subspan(sizeof head));
    write_options(options, w);
  }
  SipTag tag = envelope_tag(key, out, h.payload, h.kind);
  std::memcpy(out.data() + sizeof head - sizeof tag, tag.data(), sizeof tag);
  return size;
}

SipTag envelope_tag(SipKey key, Bytes head_and_options, Bytes payload, PayloadKind kind) {
  constexpr size_t kTagAt = kEnvelopeSizeMin - sizeof(AuthOption::tag);
  // The fixed part, the options and the length in one piece: 56 bytes where there are no further options, so that the
  // payload starts on a word of the hash.
  uint8_t head[kGeneveHeaderSize + kOptionsMax + 4];
  size_t n = head_and_options.size();
  std::memcpy(head, head_and_options.data(), n);
  std::memset(head + kTagAt, 0, sizeof(AuthOption::tag));
  Be32 length = Be32::of(static_cast<uint32_t>(payload.size()));
  std::memcpy(head + n, &length, sizeof length);
  SipHasher128 h(key);
  h.update(Bytes(head, n + sizeof length));
  h.update(kind == PayloadKind::message ? payload : payload.first(std::min(payload.size(), kTaggedInnerBytes)));
  return h.finish();
}

bool tag_verifies(SipKey key, Bytes datagram, const WireHead& head) {
  Bytes before_payload = datagram.first(datagram.size() - head.payload.size());
  SipTag want = envelope_tag(key, before_payload, head.payload, head.kind);
  return same_tag(want.data(), datagram.data() + offsetof(EnvelopeHead, auth.tag));
}

size_t options_size(const EnvelopeOptions& o) {
  return (o.replica_hint ? kReplicaHintSize : 0) + (o.ingress ? kIngressSize : 0) +
         (o.forward_to ? kForwardToSize : 0) + (o.not_mine ? kNotMineSize : 0) + (o.lease ? kLeaseSize : 0) +
         (o.workload ? kWorkloadSize : 0) + (o.admitted ? kAdmittedSize : 0) + (o.forwarded ? kForwardedSize : 0);
}

namespace {

void put_header(Writer& w, uint8_t type, size_t size) {
  w.u16(kOptionClass);
  w.u8(type);
  w.u8((size - sizeof(OptionHeader)) / 4);
}

void put_version(Writer& w, const Version& v) {
  w.u16(v.term);
  w.u24(v.incarnation);
  w.u40(v.counter);
}

Version get_version(Reader& r) {
  Version v;
  v.term = r.u16();
  v.incarnation = r.u24();
  v.counter = r.u40();
  return v;
}

template <class Id>
bool get_id(Reader& r, std::optional<Id>& out) {
  uint32_t id = r.u32();
  out = Id{id};
  return id >= 1 && id <= kId24Max;
}

// One option of our class; false where its body is not what the table in wire.h says, or it is unknown and critical.
bool read_body(uint8_t type, Bytes body, EnvelopeOptions& out) {
  Reader r(body);
  switch (type) {
    case kReplicaHintType:
      if (!get_id(r, out.replica_hint)) return false;
      break;
    case kIngressType:
      if (!get_id(r, out.ingress)) return false;
      break;
    case kForwardToType:
      if (!get_id(r, out.forward_to)) return false;
      break;
    case kNotMineType:
      out.not_mine = get_version(r);
      r.u16();
      break;
    case kLeaseType: {
      LeaseInstruction l;
      l.version = get_version(r);
      l.echo.timestamp_us = r.u48();
      l.echo.boot = r.u32();
      l.lease_ms = r.u32();
      l.lease_bytes = r.u64();
      out.lease = l;
      break;
    }
    case kWorkloadType: {
      Workload load;
      load.load_permille = r.u16();
      load.flags = r.u8();
      r.u8();
      out.workload = load;
      break;
    }
    case kAdmittedType: out.admitted = true; break;
    case kForwardedType: out.forwarded = true; break;
    default: return !(type & kCriticalBit);  // unknown: skipped where that is allowed
  }
  return r.done();
}

}  // namespace

void write_options(const EnvelopeOptions& o, Writer& w) {
  if (o.replica_hint) {
    put_header(w, kReplicaHintType, kReplicaHintSize);
    w.u32(o.replica_hint->value);
  }
  if (o.ingress) {
    put_header(w, kIngressType, kIngressSize);
    w.u32(o.ingress->value);
  }
  if (o.forward_to) {
    put_header(w, kForwardToType, kForwardToSize);
    w.u32(o.forward_to->value);
  }
  if (o.not_mine) {
    put_header(w, kNotMineType, kNotMineSize);
    put_version(w, *o.not_mine);
    w.zeros(2);
  }
  if (o.lease) {
    put_header(w, kLeaseType, kLeaseSize);
    put_version(w, o.lease->version);
    w.u48(o.lease->echo.timestamp_us);
    w.u32(o.lease->echo.boot);
    w.u32(o.lease->lease_ms);
    w.u64(o.lease->lease_bytes);
  }
  if (o.workload) {
    put_header(w, kWorkloadType, kWorkloadSize);
    w.u16(o.workload->load_permille);
    w.u8(o.workload->flags);
    w.u8(0);
  }
  if (o.admitted) put_header(w, kAdmittedType, kAdmittedSize);
  if (o.forwarded) put_header(w, kForwardedType, kForwardedSize);
}

bool read_options(Bytes options, EnvelopeOptions& out) {
  out = EnvelopeOptions{};
  Reader r(options);
  uint8_t last_number = kAuthType & 0x7f;
  while (r.left() > 0) {
    uint16_t option_class = r.u16();
    uint8_t type = r.u8();
    Bytes body = r.bytes(size_t(r.u8() & 0x1f) * 4);
    if (!r.ok()) return false;
    // Of our own class numbers rise; of other classes we know nothing but whether they may be skipped.
    if (option_class != kOptionClass) {
      if (type & kCriticalBit) return false;
      continue;
    }
    uint8_t number = type & 0x7f;
    if (number <= last_number) return false;
    last_number = number;
    if (!read_body(type, body, out)) return false;
  }
  return true;
}

}  // namespace statecast
