// SPDX-License-Identifier: BSD-3-Clause
// The tunnel's UDP socket: one port for everything, since a NAT lets nothing else in. Datagrams are received in bursts
// (recvmmsg, GRO) and sent in bursts (sendmmsg; equal-sized ones to one proxy that lie one behind the other in memory
// leave as one GSO send).
//
//   auto udp = UdpSocket::open(bind);
//   udp->receive([&](Bytes datagram, const Endpoint& from) {...});
//   udp->queue(bytes, to);  udp->flush();
//
// Threads: one. Ownership: owns its descriptor; queued bytes are views until flush.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace statecast {

class UdpSocket {
 public:
  static Result<std::unique_ptr<UdpSocket>> open(const Endpoint& bind);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  int fd() const { return fd_; }
  // Receives what is there, at most one burst. False when nothing was.
  bool receive(const std::function<void(Bytes, const Endpoint&)>& on_datagram);
  void queue(Bytes datagram, const Endpoint& to);
  // Sends what is queued; returns how many datagrams the socket did not take.
  size_t flush();

 private:
  struct Batch;
  UdpSocket(int fd, bool v6);
  struct Send {
    const uint8_t* data;
    size_t size;     // of all segments
    size_t segment;  // of each but perhaps the last
    Endpoint to;
  };
  size_t send_some(size_t first, size_t count);

  int fd_;
  bool v6_;
  bool gso_ = true;
  std::vector<Send> sends_;
  std::unique_ptr<Batch> batch_;
};

}  // namespace statecast
