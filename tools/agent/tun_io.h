// SPDX-License-Identifier: BSD-3-Clause
// The TUN device of a member: it has the groups' addresses, and what the kernel sends from one of them comes back into
// it, whatever the machine's routes say (policy rules: `from ADDRESS lookup TABLE`; TABLE: default through the device).
// Device, addresses, routes and rules end with the object. An agent that is killed leaves its rules and an
// `unreachable` route, so that what its sockets still send does not leave past the proxies.
//
//   auto tun = TunDevice::create({.name = "statecast0", .mtu = kInnerMtuV4, .table = 53001, .addresses = {...}});
//   tun->read([&](Bytes packet) {...});  tun->write(packet);  tun->flush();
//
// Threads: one. Ownership: owns the device and its descriptor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "tools/agent/netlink_io.h"
#include "tools/agent/tun_offload.h"

namespace statecast {

struct TunOptions {
  std::string name;
  unsigned mtu = 0;
  uint32_t table = 0;             // routing table of the device's own
  std::vector<Prefix> addresses;  // of the groups
};

class TunDevice {
 public:
  static Result<std::unique_ptr<TunDevice>> create(const TunOptions& options);
  ~TunDevice();
  TunDevice(const TunDevice&) = delete;
  TunDevice& operator=(const TunDevice&) = delete;

  int fd() const { return fd_; }
  // Reads what the kernel has sent, at most one burst. False when there was nothing.
  bool read(const std::function<void(Bytes)>& on_packet);
  // Packets may be held to be joined; flush after a burst.
  void write(Bytes packet) { joiner_.add(packet); }
  // Returns how many writes the device did not take since the last flush.
  size_t flush();

 private:
  TunDevice(int fd, TunOptions options, NetlinkSocket routes);
  Result<> configure();
  Result<> set_link();
  Result<> add_address(const Prefix& p);
  void wait_until_local(const Prefix& p);
  Result<> change_routes(uint8_t family, bool add);
  Result<> change_rule(const Prefix& p, bool add);
  void write_packet(const VnetHeader& header, Bytes packet);

  int fd_;
  TunOptions options_;
  NetlinkSocket routes_;
  uint32_t index_ = 0;
  size_t refused_ = 0;
  std::vector<uint8_t> buffer_, scratch_;
  SegmentJoiner joiner_;
};

}  // namespace statecast
