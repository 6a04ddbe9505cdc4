// SPDX-License-Identifier: BSD-3-Clause
// Any datagrams to a proxy that a member has said hello to. An input is a list of pieces: kind, length (2 bytes),
// bytes. The kind chooses what is done with the piece (modulo 6):
//   0 open it as it is                        3 read it as options, hello and path messages
//   1 tag it under the session keys, open     4 let some milliseconds pass (as many as the piece is long)
//   2 tag it under the hello keys, open       5 open what the member sealed last, once more
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "dataplane/envelope/hello.h"
#include "dataplane/envelope/peers.h"
#include "dataplane/envelope/wire.h"

using namespace statecast;

namespace {

const NodeId kProxy = NodeId::proxy(ProxyId{1}), kMember = NodeId::member(MemberId{7});

struct World {
  Rng rng{1};
  Instant now{100s};
  PairKey pair{};
  Endpoint proxy_at = *Endpoint::parse("10.0.0.1:6081"), member_at = *Endpoint::parse("10.0.0.7:6081");
  PeerTable proxy{kProxy, 0x01010101, 2, Instant{}, [this](MutableBytes out) { rng.fill(out); }};
  PeerTable member{kMember, 0x07070707, 2, Instant{}, [this](MutableBytes out) { rng.fill(out); }};
  std::optional<TagKey> session_key;  // of what the member sends
  uint8_t key_epoch = 0;
  std::vector<uint8_t> last;

  World() {
    proxy.add(kMember, pair, std::nullopt);
    member.add(kProxy, pair, proxy_at);
    for (int i = 0; i < 8; ++i) step();
    SC_ASSERT(proxy.ready(kMember) && member.ready(kProxy) && session_key);
  }

  void take(PeerTable& at, Bytes d, const Endpoint& from) {
    Envelope e;
    OpenResult r = at.open(d, e);
    if (r == OpenResult::hello) {
      SC_ASSERT(e.kind == PayloadKind::message && at.contains(e.sender));
      at.on_hello(e, from, now);
    } else if (r == OpenResult::ok) {
      SC_ASSERT(at.contains(e.sender) && e.key_epoch != 0 && !e.payload.empty());
      SC_ASSERT(at.open(d, e) == OpenResult::replayed);
      at.heard(e, from, now);
      at.on_path_message(e, from, now);
    } else {
      at.on_unverified(claimed_sender(d), from, now);
    }
  }

  // The member's datagrams reach the proxy and the other way round, once.
  void step() {
    now += 1ms;
    proxy.on_deadline(now);
    member.on_deadline(now);
    for (PeerTable::Datagram d; member.next_output(d);) {
      Bytes bytes = Bytes(d.bytes).first(d.length);
      last.assign(bytes.begin(), bytes.end());
      auto m = read_hello(bytes.subspan(kEnvelopeSizeMin));
      if (m && m->type == HelloType::confirm) {
        session_key = session_tag_key(pair, m->initiator_salt, m->responder_salt, kMember);
        key_epoch = m->responder_epoch;
      }
      take(proxy, bytes, member_at);
    }
    for (PeerTable::Datagram d; proxy.next_output(d);)
      if (d.at == member_at) take(member, Bytes(d.bytes).first(d.length), proxy_at);
  }
};

// Makes a head that gets past the first checks, and a right tag.
void tag(std::vector<uint8_t>& d, SipKey key, uint8_t key_epoch, uint32_t boot) {
  if (d.size() < kEnvelopeSizeMin) return;
  auto* h = reinterpret_cast<EnvelopeHead*>(d.data());
  h->geneve.version_length &= 0x3f;
  h->geneve.flags |= kGeneveC;
  h->auth.header = {Be16::of(kOptionClass), kAuthType, 10};
  h->auth.sender = Be32::of(kMember.value);
  h->auth.boot = Be32::of(boot);
  h->auth.key_epoch = key_epoch;
  WireHead head;
  if (!read_head(d, head)) return;
  SipTag t = envelope_tag(key, Bytes(d).first(d.size() - head.payload.size()), head.payload, head.kind);
  std::memcpy(h->auth.tag, t.data(), t.size());
}

void codecs(Bytes piece) {
  EnvelopeOptions options, again;
  if (read_options(piece, options)) {
    std::vector<uint8_t> bytes(options_size(options)), once_more(bytes.size());
    Writer w(bytes), w2(once_more);
    write_options(options, w);
    SC_ASSERT(w.ok() && w.size() == bytes.size() && bytes.size() <= piece.size());
    SC_ASSERT(read_options(bytes, again));
    write_options(again, w2);
    SC_ASSERT(bytes == once_more);
  }
  uint8_t out[kHelloSize];
  Writer w(out);
  if (auto m = read_hello(piece)) {
    write_hello(*m, w);
    SC_ASSERT(w.ok() && read_hello(out));
  } else if (auto p = read_path(piece)) {
    write_path(*p, w);
    SC_ASSERT(w.ok() && read_path(w.written()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  World world;
  Reader r(Bytes(data, size));
  while (r.left() >= 3) {
    uint8_t kind = r.u8() % 6;
    Bytes in = r.bytes(std::min<size_t>(r.u16(), r.left()));
    std::vector<uint8_t> piece(in.begin(), in.end());  // its own allocation, so that a sanitizer sees its end
    switch (kind) {
      case 0: world.take(world.proxy, piece, world.member_at); break;
      case 1:
        tag(piece, world.session_key->raw, world.key_epoch, world.member.boot());
        world.take(world.proxy, piece, world.member_at);
        break;
      case 2:
        tag(piece, hello_tag_key(world.pair, kMember).raw, 0, world.member.boot());
        world.take(world.proxy, piece, world.member_at);
        break;
      case 3: codecs(piece); break;
      case 4:
        world.now += Duration(1ms) * static_cast<int64_t>(piece.size());
        world.step();
        break;
      case 5: world.take(world.proxy, world.last, *Endpoint::parse("192.0.2.66:1")); break;
    }
    world.step();
  }
  // Whatever came: the member can still say hello, and be heard.
  for (int i = 0; i < 4000 && !(world.proxy.ready(kMember) && world.member.ready(kProxy)); ++i) world.step();
  SC_ASSERT(world.proxy.ready(kMember));
  return 0;
}
