// SPDX-License-Identifier: BSD-3-Clause
#include "tools/agent/netlink_io.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace statecast {

void NetlinkRequest::append(const void* data, size_t n) {
  const auto* from = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), from, from + n);
  while (bytes_.size() % NLMSG_ALIGNTO != 0) bytes_.push_back(0);
}

Bytes NetlinkRequest::finish(uint32_t sequence, uint16_t more_flags) {
  nlmsghdr h;
  std::memcpy(&h, bytes_.data(), sizeof h);
  h.nlmsg_len = static_cast<uint32_t>(bytes_.size());
  h.nlmsg_seq = sequence;
  h.nlmsg_flags = static_cast<uint16_t>(h.nlmsg_flags | more_flags);
  std::memcpy(bytes_.data(), &h, sizeof h);
  return bytes_;
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) return fail(Code::system, std::string("netlink socket: ") + std::strerror(errno));
  int size = 1 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  timeval patience{2, 0};  // the kernel answers at once; never hang on it
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return NetlinkSocket(fd);
}

NetlinkSocket::~NetlinkSocket() {
  if (fd_ >= 0) ::close(fd_);
}

Result<> NetlinkSocket::acknowledged(NetlinkRequest& request, int* refusal) {
  return exchange(
      request, NLM_F_ACK, [](const nlmsghdr&) {}, refusal);
}

Result<> NetlinkSocket::dump(NetlinkRequest& request, const std::function<void(const nlmsghdr&)>& on_message,
                             uint16_t flags) {
  return exchange(request, flags, on_message, nullptr);
}

Result<> NetlinkSocket::exchange(NetlinkRequest& request, uint16_t flags,
                                 const std::function<void(const nlmsghdr&)>& on_message, int* refusal) {
  Bytes out = request.finish(++sequence_, flags);
  if (send(fd_, out.data(), out.size(), 0) < 0)
    return fail(Code::system, std::string("netlink: ") + std::strerror(errno));
  bool single = (flags & (NLM_F_DUMP | NLM_F_ACK)) == 0;
  alignas(nlmsghdr) static thread_local uint8_t buffer[1 << 16];
  for (;;) {
    ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Code::system, std::string("netlink: ") + std::strerror(errno));
    auto left = static_cast<uint32_t>(n);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_seq != sequence_) continue;  // of an earlier request that was given up
      if (m->nlmsg_type == NLMSG_DONE) return {};
      if (m->nlmsg_type == NLMSG_ERROR) {
        int error = -reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(m))->error;
        if (error == 0) return {};
        if (refusal) *refusal = error;
        return fail(Code::system, std::string("netlink: ") + std::strerror(error));
      }
      on_message(*m);
      if (single) return {};
    }
  }
}

}  // namespace statecast
