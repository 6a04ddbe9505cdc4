// SPDX-License-Identifier: BSD-3-Clause
// The dump is filtered in the kernel by a small program over local addresses, so that a busy machine's other sockets
// cost nothing here. Destroying takes two steps: find the very socket, then end it by its cookie. The kernel's own
// look-up falls back to a *listener* when no connection matches, and would end that one instead.
#include "tools/agent/sock_diag_io.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace statecast {

namespace {

constexpr uint32_t kAllButListening = ((1u << (TCP_CLOSING + 1)) - 1) & ~(1u << TCP_LISTEN) & ~(1u << TCP_CLOSE);

void append(std::vector<uint8_t>& to, Bytes b) {
  to.insert(to.end(), b.begin(), b.end());
}

// "local address in prefix 1, or in prefix 2, or ..." in the kernel's byte code. An operation that holds goes `yes`
// bytes ahead, else `no`; ending exactly behind the last one accepts, 4 bytes farther rejects.
std::vector<uint8_t> local_address_filter(const std::vector<Prefix>& prefixes) {
  std::vector<uint8_t> code;
  size_t total = 0;
  for (size_t i = 0; i < prefixes.size(); ++i) {
    total += sizeof(inet_diag_bc_op) + sizeof(inet_diag_hostcond) + prefixes[i].address.size();
    if (i + 1 < prefixes.size()) total += sizeof(inet_diag_bc_op);
  }
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const Prefix& p = prefixes[i];
    bool last = i + 1 == prefixes.size();
    auto size = static_cast<uint8_t>(sizeof(inet_diag_bc_op) + sizeof(inet_diag_hostcond) + p.address.size());
    inet_diag_bc_op condition{INET_DIAG_BC_S_COND, size, static_cast<uint16_t>(size + 4)};
    inet_diag_hostcond host{};
    host.family = p.address.is_v4() ? AF_INET : AF_INET6;
    host.prefix_len = p.length;
    host.port = -1;
    append(code, NetlinkRequest::bytes_of(condition));
    append(code, NetlinkRequest::bytes_of(host));
    append(code, p.address.bytes());
    if (last) break;
    // It held: accept, by a jump (whose way on is `no`) to the end.
    inet_diag_bc_op jump{INET_DIAG_BC_JMP, sizeof(inet_diag_bc_op), static_cast<uint16_t>(total - code.size())};
    append(code, NetlinkRequest::bytes_of(jump));
  }
  return code;
}

IpAddress address_of(uint8_t family, const __be32 (&raw)[4]) {
  Bytes b(reinterpret_cast<const uint8_t*>(raw), 16);
  if (family == AF_INET) return IpAddress::v4(b.first(4));
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::memcmp(b.data(), kMapped, sizeof kMapped) == 0) return IpAddress::v4(b.subspan(12));
  return IpAddress::v6(b);
}

Endpoint local_of(const inet_diag_msg& m) {
  return {address_of(m.idiag_family, m.id.idiag_src), Port{ntohs(m.id.idiag_sport)}};
}
Endpoint remote_of(const inet_diag_msg& m) {
  return {address_of(m.idiag_family, m.id.idiag_dst), Port{ntohs(m.id.idiag_dport)}};
}

inet_diag_req_v2 request_for(const SessionTuple& s) {
  inet_diag_req_v2 r{};
  r.sdiag_family = s.server.address.is_v4() ? AF_INET : AF_INET6;
  r.sdiag_protocol = IPPROTO_TCP;
  r.idiag_states = ~0u;
  r.id.idiag_sport = htons(s.server.port.value);
  r.id.idiag_dport = htons(s.client.port.value);
  std::memcpy(r.id.idiag_src, s.server.address.raw.data(), s.server.address.size());
  std::memcpy(r.id.idiag_dst, s.client.address.raw.data(), s.client.address.size());
  r.id.idiag_cookie[0] = r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return r;
}

}  // namespace

Result<SockDiag> SockDiag::open(std::vector<Prefix> addresses) {
  auto netlink = NetlinkSocket::open(NETLINK_SOCK_DIAG);
  if (!netlink) return fail(netlink.error().in("socket diagnosis"));
  return SockDiag(std::move(*netlink), std::move(addresses));
}

Result<std::vector<KernelSocket>> SockDiag::read() {
  std::vector<KernelSocket> out;
  for (uint8_t family : {AF_INET, AF_INET6})
    if (auto r = read_family(family, out); !r) return fail(r.error().in("reading the kernel's socket table"));
  return out;
}

Result<> SockDiag::read_family(uint8_t family, std::vector<KernelSocket>& out) {
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY, 0);
  inet_diag_req_v2 r{};
  r.sdiag_family = family;
  r.sdiag_protocol = IPPROTO_TCP;
  r.idiag_states = kAllButListening;
  request.put(r);
  if (!addresses_.empty()) request.attribute(INET_DIAG_REQ_BYTECODE, local_address_filter(addresses_));
  return netlink_.dump(request, [&](const nlmsghdr& h) {
    if (h.nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return;
    const auto& m = *reinterpret_cast<const inet_diag_msg*>(NLMSG_DATA(&h));
    KernelSocket k{local_of(m), remote_of(m), KernelSocket::State::open};
    if (m.idiag_state == TCP_SYN_RECV) k.state = KernelSocket::State::syn_received;
    if (m.idiag_state == TCP_TIME_WAIT) k.state = KernelSocket::State::time_wait;
    out.push_back(k);
  });
}

Result<bool> SockDiag::destroy(const SessionTuple& session) {
  NetlinkRequest find(SOCK_DIAG_BY_FAMILY, 0);
  inet_diag_req_v2 r = request_for(session);
  find.put(r);
  bool found = false;
  auto got = netlink_.dump(
      find,
      [&](const nlmsghdr& h) {
        if (h.nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return;
        const auto& m = *reinterpret_cast<const inet_diag_msg*>(NLMSG_DATA(&h));
        found = local_of(m) == session.server && remote_of(m) == session.client && m.idiag_state != TCP_LISTEN;
        r.id = m.id;
        r.sdiag_family = m.idiag_family;
      },
      0);
  if (!got || !found) return false;  // ENOENT is how the kernel says that there is none
  NetlinkRequest destroy(SOCK_DESTROY, 0);
  r.id.idiag_if = 0;
  destroy.put(r);
  int refusal = 0;
  auto done = netlink_.acknowledged(destroy, &refusal);
  if (done) return true;
  if (refusal == ENOENT) return false;  // ended by itself meanwhile
  return fail(done.error().in("destroying the kernel's socket"));
}

}  // namespace statecast
