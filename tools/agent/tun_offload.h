// SPDX-License-Identifier: BSD-3-Clause
// What a network card would do for the TUN device's packets, done here because it pays: the kernel hands over one large
// TCP segment with an unfinished checksum, and takes one back for many. With UDP GSO and GRO on the tunnel's side an
// agent carries 7 Gb/s per core it uses (tests/agent/e2e.py --iperf 4, two shared cores under load, 2026-11-25: 956
// Mb/s up at 13 % of a core, 1,906 Mb/s down at 28 %); without any of it one tunnel on one core ended at 1 Gb/s.
//
//   split_packet(header, packet, scratch, [&](Bytes small) {...});     // kernel to clients
//   SegmentJoiner joiner(write);  joiner.add(packet); ...; joiner.flush();   // clients to kernel
//
// Threads: one object, one thread. Ownership: views; the joiner owns what it holds until flush.
#pragma once

#include <functional>
#include <type_traits>
#include <vector>

#include "base/bytes.h"

namespace statecast {

// What stands before each packet of a TUN device opened with IFF_VNET_HDR: struct virtio_net_hdr of
// <linux/virtio_net.h>, which is no C++ header (it names a field `class`). Host byte order.
struct VnetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;  // flags
  static constexpr uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoEcn = 0x80;
  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t hdr_len = 0;
  uint16_t gso_size = 0;
  uint16_t csum_start = 0, csum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10 && std::is_trivially_copyable_v<VnetHeader>);

// Hands over the packet, or the MTU-sized segments it stands for, with their checksums. `scratch` is where segments are
// built. False when the header promises something that was not offered to the kernel, or does not fit the packet.
bool split_packet(const VnetHeader& header, MutableBytes packet, std::vector<uint8_t>& scratch,
                  const std::function<void(Bytes)>& on_packet);

// Joins TCP segments of one connection that follow each other into one large packet, as the kernel's own GRO would. A
// segment joins only if its checksum verifies: the joined packet is marked as one whose checksum need not be looked at.
// Anything else goes through as it is, in order.
class SegmentJoiner {
 public:
  using Write = std::function<void(const VnetHeader&, Bytes)>;
  explicit SegmentJoiner(Write write) : write_(std::move(write)) {}
  void add(Bytes packet);
  void flush();

 private:
  bool join(Bytes packet);
  Write write_;
  std::vector<uint8_t> held_;  // the packet that grows; empty: none
  size_t header_size_ = 0;     // of IP and TCP
  size_t segment_size_ = 0;    // payload of each but perhaps the last
  uint16_t segments_ = 0;
  uint32_t next_sequence_ = 0;
  bool closed_ = false;  // a short or pushed segment was its last
};

}  // namespace statecast
