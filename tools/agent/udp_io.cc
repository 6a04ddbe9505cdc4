// SPDX-License-Identifier: BSD-3-Clause
#include "tools/agent/udp_io.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace statecast {

namespace {

constexpr size_t kReceives = 32;         // messages of one recvmmsg
constexpr size_t kReceiveSize = 65'536;  // one message: up to 64 datagrams, by GRO
constexpr size_t kSends = 64;            // messages of one sendmmsg
constexpr size_t kSegmentsMax = 64;      // the kernel's UDP_MAX_SEGMENTS
constexpr size_t kSendSizeMax = 64'000;  // below the largest IP packet
constexpr int kSocketBuffer = 8 << 20;
constexpr int kSendPatienceMs = 5;  // a full socket is waited for this long, then the rest is dropped

sockaddr_storage address_of(const Endpoint& e, bool v6, socklen_t& length) {
  sockaddr_storage out{};
  if (v6) {
    auto& a = reinterpret_cast<sockaddr_in6&>(out);
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(e.port.value);
    if (e.address.is_v6()) {
      std::memcpy(&a.sin6_addr, e.address.raw.data(), 16);
    } else {  // a dual-stack socket names IPv4 peers by mapped addresses
      a.sin6_addr.s6_addr[10] = a.sin6_addr.s6_addr[11] = 0xff;
      std::memcpy(&a.sin6_addr.s6_addr[12], e.address.raw.data(), 4);
    }
    length = sizeof a;
  } else {
    auto& a = reinterpret_cast<sockaddr_in&>(out);
    a.sin_family = AF_INET;
    a.sin_port = htons(e.port.value);
    std::memcpy(&a.sin_addr, e.address.raw.data(), 4);
    length = sizeof a;
  }
  return out;
}

Endpoint endpoint_of(const sockaddr_storage& s) {
  if (s.ss_family == AF_INET) {
    const auto& a = reinterpret_cast<const sockaddr_in&>(s);
    return {IpAddress::v4(Bytes(reinterpret_cast<const uint8_t*>(&a.sin_addr), 4)), Port{ntohs(a.sin_port)}};
  }
  const auto& a = reinterpret_cast<const sockaddr_in6&>(s);
  Bytes b(a.sin6_addr.s6_addr, 16);
  if (IN6_IS_ADDR_V4MAPPED(&a.sin6_addr)) return {IpAddress::v4(b.subspan(12)), Port{ntohs(a.sin6_port)}};
  return {IpAddress::v6(b), Port{ntohs(a.sin6_port)}};
}

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

}  // namespace

struct UdpSocket::Batch {
  std::array<std::vector<uint8_t>, kReceives> buffers;
  std::array<mmsghdr, kReceives> messages;
  std::array<iovec, kReceives> vectors;
  std::array<sockaddr_storage, kReceives> from;
  std::array<std::array<uint8_t, 64>, kReceives> control;

  std::array<mmsghdr, kSends> out_messages;
  std::array<iovec, kSends> out_vectors;
  std::array<sockaddr_storage, kSends> to;
  std::array<std::array<uint8_t, CMSG_SPACE(sizeof(uint16_t))>, kSends> out_control;
};

UdpSocket::UdpSocket(int fd, bool v6) : fd_(fd), v6_(v6), batch_(std::make_unique<Batch>()) {
  for (auto& b : batch_->buffers) b.resize(kReceiveSize);
}

UdpSocket::~UdpSocket() {
  ::close(fd_);
}

Result<std::unique_ptr<UdpSocket>> UdpSocket::open(const Endpoint& bind_to) {
  bool v6 = bind_to.address.is_v6();
  int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(Code::system, std::string("UDP socket: ") + std::strerror(errno));
  if (v6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, kSocketBuffer);
  set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, kSocketBuffer);
  set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
  socklen_t length;
  sockaddr_storage a = address_of(bind_to, v6, length);
  if (bind(fd, reinterpret_cast<sockaddr*>(&a), length) < 0) {
    std::string why = std::strerror(errno);
    ::close(fd);
    return fail(Code::system, "binding the tunnel's socket to " + to_string(bind_to) + ": " + why);
  }
  return std::unique_ptr<UdpSocket>(new UdpSocket(fd, v6));
}

bool UdpSocket::receive(const std::function<void(Bytes, const Endpoint&)>& on_datagram) {
  Batch& b = *batch_;
  for (size_t i = 0; i < kReceives; ++i) {
    b.vectors[i] = {b.buffers[i].data(), b.buffers[i].size()};
    b.messages[i] = {};
    msghdr& h = b.messages[i].msg_hdr;
    h.msg_name = &b.from[i];
    h.msg_namelen = sizeof b.from[i];
    h.msg_iov = &b.vectors[i];
    h.msg_iovlen = 1;
    h.msg_control = b.control[i].data();
    h.msg_controllen = b.control[i].size();
  }
  int n = recvmmsg(fd_, b.messages.data(), kReceives, MSG_DONTWAIT, nullptr);
  if (n <= 0) return false;
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    msghdr& h = b.messages[i].msg_hdr;
    if (h.msg_flags & MSG_TRUNC) continue;
    size_t size = b.messages[i].msg_len, segment = size;
    for (cmsghdr* c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
      if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
      int of_each = 0;
      std::memcpy(&of_each, CMSG_DATA(c), sizeof of_each);
      if (of_each > 0) segment = static_cast<size_t>(of_each);
    }
    Endpoint from = endpoint_of(b.from[i]);
    Bytes all = Bytes(b.buffers[i]).first(size);
    while (!all.empty()) {
      size_t take = std::min(segment, all.size());
      on_datagram(all.first(take), from);
      all = all.subspan(take);
    }
  }
  return true;
}

void UdpSocket::queue(Bytes datagram, const Endpoint& to) {
  if (gso_ && !sends_.empty()) {
    Send& last = sends_.back();
    bool joins = last.data + last.size == datagram.data() && last.to == to && datagram.size() <= last.segment &&
                 last.size % last.segment == 0 && last.size / last.segment < kSegmentsMax &&
                 last.size + datagram.size() <= kSendSizeMax;
    if (joins) {
      last.size += datagram.size();
      return;
    }
  }
  sends_.push_back({datagram.data(), datagram.size(), datagram.size(), to});
}

size_t UdpSocket::flush() {
  size_t lost = 0;
  for (size_t at = 0; at < sends_.size();) {
    size_t sent = send_some(at, std::min(kSends, sends_.size() - at));
    if (sent == 0 && (errno == EAGAIN || errno == ENOBUFS)) {
      pollfd wait{fd_, POLLOUT, 0};
      if (poll(&wait, 1, kSendPatienceMs) > 0) sent = send_some(at, std::min(kSends, sends_.size() - at));
    }
    if (sent == 0 && (errno == EIO || errno == EINVAL) && sends_[at].size > sends_[at].segment && gso_) {
      gso_ = false;  // the device below cannot: from now on one by one
      Send whole = sends_[at];
      std::vector<Send> parts;
      for (size_t o = 0; o < whole.size; o += whole.segment) {
        size_t n = std::min(whole.segment, whole.size - o);
        parts.push_back({whole.data + o, n, n, whole.to});
      }
      sends_.erase(sends_.begin() + static_cast<ptrdiff_t>(at));
      sends_.insert(sends_.begin() + static_cast<ptrdiff_t>(at), parts.begin(), parts.end());
      continue;
    }
    if (sent == 0) {  // no route, or full for too long: this one is lost
      lost += (sends_[at].size + sends_[at].segment - 1) / sends_[at].segment;
      sent = 1;
    }
    at += sent;
  }
  sends_.clear();
  return lost;
}

// One sendmmsg; how many of the sends it took (0: errno says why not the first).
size_t UdpSocket::send_some(size_t first, size_t count) {
  Batch& b = *batch_;
  for (size_t i = 0; i < count; ++i) {
    const Send& s = sends_[first + i];
    b.out_vectors[i] = {const_cast<uint8_t*>(s.data), s.size};
    b.out_messages[i] = {};
    msghdr& h = b.out_messages[i].msg_hdr;
    b.to[i] = address_of(s.to, v6_, h.msg_namelen);
    h.msg_name = &b.to[i];
    h.msg_iov = &b.out_vectors[i];
    h.msg_iovlen = 1;
    if (s.size > s.segment) {
      h.msg_control = b.out_control[i].data();
      h.msg_controllen = b.out_control[i].size();
      cmsghdr* c = CMSG_FIRSTHDR(&h);
      c->cmsg_level = IPPROTO_UDP;
      c->cmsg_type = UDP_SEGMENT;
      c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
      auto segment = static_cast<uint16_t>(s.segment);
      std::memcpy(CMSG_DATA(c), &segment, sizeof segment);
    }
  }
  int n = sendmmsg(fd_, b.out_messages.data(), static_cast<unsigned>(count), 0);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

}  // namespace statecast
