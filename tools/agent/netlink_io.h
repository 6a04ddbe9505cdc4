// SPDX-License-Identifier: BSD-3-Clause
// Netlink: a socket of one family (routes, socket diagnosis), and a builder for requests with nested attributes.
//
//   auto nl = NetlinkSocket::open(NETLINK_ROUTE);
//   NetlinkRequest r(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
//   r.put(ifaddrmsg{...});  r.attribute(IFA_LOCAL, address.bytes());
//   nl->acknowledged(r);                        // waits for the kernel's answer
//   nl->dump(r, [](const nlmsghdr& m) {...});
//
// Threads: one. Ownership: the socket owns its descriptor.
#pragma once

#include <linux/netlink.h>

#include <cstring>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace statecast {

class NetlinkRequest {
 public:
  NetlinkRequest(uint16_t type, uint16_t flags) : bytes_(sizeof(nlmsghdr)) {
    nlmsghdr h{};
    h.nlmsg_type = type;
    h.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
    std::memcpy(bytes_.data(), &h, sizeof h);
  }
  template <class T>
  void put(const T& fixed) {
    append(&fixed, sizeof fixed);
  }
  void attribute(uint16_t type, Bytes value) {
    nlattr a{static_cast<uint16_t>(sizeof(nlattr) + value.size()), type};
    append(&a, sizeof a);
    append(value.data(), value.size());
  }
  void attribute(uint16_t type, uint32_t value) { attribute(type, bytes_of(value)); }
  void attribute(uint16_t type, uint8_t value) { attribute(type, bytes_of(value)); }
  void attribute(uint16_t type, const char* text) {
    attribute(type, Bytes(reinterpret_cast<const uint8_t*>(text), std::strlen(text) + 1));
  }
  // What is added between begin and end is inside the attribute.
  size_t begin(uint16_t type) {
    size_t at = bytes_.size();
    nlattr a{0, static_cast<uint16_t>(type | NLA_F_NESTED)};
    append(&a, sizeof a);
    return at;
  }
  void end(size_t at) {
    auto length = static_cast<uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
  }
  template <class T>
  static Bytes bytes_of(const T& v) {
    return {reinterpret_cast<const uint8_t*>(&v), sizeof v};
  }
  // The request with its length and this number filled in.
  Bytes finish(uint32_t sequence, uint16_t more_flags);

 private:
  void append(const void* data, size_t n);  // and zeros up to the next multiple of 4
  std::vector<uint8_t> bytes_;
};

class NetlinkSocket {
 public:
  static Result<NetlinkSocket> open(int protocol);
  NetlinkSocket(NetlinkSocket&& o) noexcept : fd_(o.fd_), sequence_(o.sequence_) { o.fd_ = -1; }
  NetlinkSocket& operator=(NetlinkSocket&&) = delete;
  ~NetlinkSocket();

  // Sends the request and waits for its acknowledgement; `errno` of a refusal is in `refusal` where asked for.
  Result<> acknowledged(NetlinkRequest& request, int* refusal = nullptr);
  // Sends a request for a dump (or for one object) and hands over each message of the answer.
  Result<> dump(NetlinkRequest& request, const std::function<void(const nlmsghdr&)>& on_message,
                uint16_t flags = NLM_F_DUMP);

 private:
  explicit NetlinkSocket(int fd) : fd_(fd) {}
  Result<> exchange(NetlinkRequest& request, uint16_t flags, const std::function<void(const nlmsghdr&)>& on_message,
                    int* refusal);
  int fd_;
  uint32_t sequence_ = 0;
};

}  // namespace statecast
