// SPDX-License-Identifier: BSD-3-Clause
// The order of set-up matters: the rules come before the address, so that no socket that lives on from before a restart
// finds another way out in between; at the end the rules go last.
#include "tools/agent/tun_io.h"

#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace statecast {

namespace {

constexpr size_t kReadBurst = 32;
constexpr uint32_t kRulePriority = 5'300;  // behind `local`, before `main`
constexpr uint32_t kLastMetric = UINT32_MAX;
constexpr int kLocalTries = 200;  // of 5 ms each
constexpr useconds_t kLocalWaitUs = 5'000;
constexpr size_t kLargest = sizeof(VnetHeader) + 65'536;

uint8_t family_of(const Prefix& p) {
  return p.address.is_v4() ? AF_INET : AF_INET6;
}
bool is_host(const Prefix& p) {
  return p.length == p.address.size() * 8;
}
std::string errno_text() {
  return std::strerror(errno);
}

}  // namespace

TunDevice::TunDevice(int fd, TunOptions options, NetlinkSocket routes)
    : fd_(fd),
      options_(std::move(options)),
      routes_(std::move(routes)),
      buffer_(kLargest),
      joiner_([this](const VnetHeader& h, Bytes p) { write_packet(h, p); }) {}

TunDevice::~TunDevice() {
  ::close(fd_);  // the device, its addresses and routes go with it
  for (const Prefix& p : options_.addresses) (void)change_rule(p, false);
  for (uint8_t family : {AF_INET, AF_INET6}) (void)change_routes(family, false);
}

Result<std::unique_ptr<TunDevice>> TunDevice::create(const TunOptions& options) {
  if (options.name.empty() || options.name.size() >= IFNAMSIZ)
    return fail(Code::invalid, "device: a name of 1 to 15 characters, got \"" + options.name + "\"");
  auto routes = NetlinkSocket::open(NETLINK_ROUTE);
  if (!routes) return fail(routes.error());
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return fail(Code::system, "/dev/net/tun: " + errno_text() + " (the agent needs CAP_NET_ADMIN)");
  auto device = std::unique_ptr<TunDevice>(new TunDevice(fd, options, std::move(*routes)));
  ifreq r{};
  std::memcpy(r.ifr_name, options.name.data(), options.name.size());
  r.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd, TUNSETIFF, &r) < 0)
    return fail(Code::system, "creating the TUN device " + options.name + ": " + errno_text() +
                                  " (is another agent running, or CAP_NET_ADMIN missing?)");
  int header = sizeof(VnetHeader);
  ioctl(fd, TUNSETVNETHDRSZ, &header);
  ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);  // without it, packets come small
  device->index_ = if_nametoindex(options.name.c_str());
  if (auto done = device->configure(); !done) return fail(done.error().in("device " + options.name));
  return device;
}

Result<> TunDevice::configure() {
  if (auto r = set_link(); !r) return r;
  bool v4 = false, v6 = false;
  for (const Prefix& p : options_.addresses) {
    (p.address.is_v4() ? v4 : v6) = true;
    while (change_rule(p, false)) {  // left by an agent that was killed
    }
    if (auto r = change_rule(p, true); !r) return fail(r.error().in("rule from " + to_string(p)));
  }
  if (v4)
    if (auto r = change_routes(AF_INET, true); !r) return fail(r.error().in("default route"));
  if (v6)
    if (auto r = change_routes(AF_INET6, true); !r) return fail(r.error().in("IPv6 default route"));
  for (const Prefix& p : options_.addresses)
    if (auto r = add_address(p); !r) return fail(r.error().in("address " + to_string(p)));
  for (const Prefix& p : options_.addresses)
    if (p.address.is_v6() && is_host(p)) wait_until_local(p);
  return {};
}

// The kernel makes an IPv6 address local a moment after it has acknowledged it, from a work queue. A packet that comes
// in between is dropped as one for somebody else.
void TunDevice::wait_until_local(const Prefix& p) {
  for (int tries = 0; tries < kLocalTries; ++tries) {
    NetlinkRequest r(RTM_GETROUTE, 0);
    rtmsg m{};
    m.rtm_family = AF_INET6;
    m.rtm_dst_len = p.length;
    r.put(m);
    r.attribute(RTA_DST, p.address.bytes());
    bool local = false;
    auto on_route = [&](const nlmsghdr& h) {
      local |= h.nlmsg_type == RTM_NEWROUTE && h.nlmsg_len >= NLMSG_LENGTH(sizeof(rtmsg)) &&
               reinterpret_cast<const rtmsg*>(NLMSG_DATA(&h))->rtm_type == RTN_LOCAL;
    };
    if (routes_.dump(r, on_route, 0) && local) return;
    usleep(kLocalWaitUs);
  }
}

// No IPv6 address of the device's own: nothing on this link speaks neighbour discovery. Two steps, because the kernel
// makes that address as the link comes up.
Result<> TunDevice::set_link() {
  for (bool up : {false, true}) {
    NetlinkRequest r(RTM_NEWLINK, 0);
    ifinfomsg m{};
    m.ifi_index = static_cast<int>(index_);
    m.ifi_flags = up ? IFF_UP : 0;
    m.ifi_change = IFF_UP;
    r.put(m);
    r.attribute(IFLA_MTU, static_cast<uint32_t>(options_.mtu));
    if (!up) {
      size_t spec = r.begin(IFLA_AF_SPEC);
      size_t inet6 = r.begin(AF_INET6);
      r.attribute(IFLA_INET6_ADDR_GEN_MODE, static_cast<uint8_t>(IN6_ADDR_GEN_MODE_NONE));
      r.end(inet6);
      r.end(spec);
    }
    auto done = routes_.acknowledged(r);
    if (!done && up) return fail(done.error().in("link up"));  // the first may fail where IPv6 is off
  }
  return {};
}

// A host address becomes the device's own; a wider prefix is local as a whole.
Result<> TunDevice::add_address(const Prefix& p) {
  if (!is_host(p)) {
    NetlinkRequest r(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
    rtmsg m{};
    m.rtm_family = family_of(p);
    m.rtm_dst_len = p.length;
    m.rtm_table = RT_TABLE_LOCAL;
    m.rtm_protocol = RTPROT_STATIC;
    m.rtm_scope = RT_SCOPE_HOST;
    m.rtm_type = RTN_LOCAL;
    r.put(m);
    r.attribute(RTA_DST, p.address.bytes());
    r.attribute(RTA_OIF, index_);
    return routes_.acknowledged(r);
  }
  NetlinkRequest r(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
  ifaddrmsg m{};
  m.ifa_family = family_of(p);
  m.ifa_prefixlen = p.length;
  m.ifa_flags = p.address.is_v6() ? IFA_F_NODAD : 0;
  m.ifa_index = index_;
  r.put(m);
  r.attribute(IFA_LOCAL, p.address.bytes());
  r.attribute(IFA_ADDRESS, p.address.bytes());
  if (p.address.is_v6()) {
    // Deprecated from the start: programs that bind to it may, but it is not picked for what this machine begins.
    ifa_cacheinfo life{};
    life.ifa_prefered = 0;
    life.ifa_valid = UINT32_MAX;
    r.attribute(IFA_CACHEINFO, NetlinkRequest::bytes_of(life));
  }
  return routes_.acknowledged(r);
}

// Through the device; when it is gone, nowhere.
Result<> TunDevice::change_routes(uint8_t family, bool add) {
  Result<> done;
  for (bool device : {true, false}) {
    if (device && !add) continue;  // went with the device
    NetlinkRequest r(add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
    rtmsg m{};
    m.rtm_family = family;
    m.rtm_table = RT_TABLE_UNSPEC;
    m.rtm_protocol = RTPROT_STATIC;
    m.rtm_scope = RT_SCOPE_UNIVERSE;
    m.rtm_type = device ? RTN_UNICAST : RTN_UNREACHABLE;
    r.put(m);
    r.attribute(RTA_TABLE, options_.table);
    if (device)
      r.attribute(RTA_OIF, index_);
    else
      r.attribute(RTA_PRIORITY, kLastMetric);
    if (done = routes_.acknowledged(r); !done) return done;
  }
  return done;
}

// The rule also makes strict reverse path filtering content: the way back to any client is this device.
Result<> TunDevice::change_rule(const Prefix& p, bool add) {
  NetlinkRequest r(add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
  fib_rule_hdr m{};
  m.family = family_of(p);
  m.src_len = p.length;
  m.table = RT_TABLE_UNSPEC;
  m.action = FR_ACT_TO_TBL;
  r.put(m);
  r.attribute(FRA_SRC, p.address.bytes());
  r.attribute(FRA_TABLE, options_.table);
  r.attribute(FRA_PRIORITY, kRulePriority);
  return routes_.acknowledged(r);
}

bool TunDevice::read(const std::function<void(Bytes)>& on_packet) {
  for (size_t i = 0; i < kReadBurst; ++i) {
    ssize_t n = ::read(fd_, buffer_.data(), buffer_.size());
    if (n <= static_cast<ssize_t>(sizeof(VnetHeader))) return i > 0;
    VnetHeader header;
    std::memcpy(&header, buffer_.data(), sizeof header);
    MutableBytes packet = MutableBytes(buffer_).first(static_cast<size_t>(n)).subspan(sizeof header);
    split_packet(header, packet, scratch_, on_packet);
  }
  return true;
}

size_t TunDevice::flush() {
  joiner_.flush();
  return std::exchange(refused_, 0);
}

void TunDevice::write_packet(const VnetHeader& header, Bytes packet) {
  iovec parts[2] = {{const_cast<VnetHeader*>(&header), sizeof header},
                    {const_cast<uint8_t*>(packet.data()), packet.size()}};
  if (writev(fd_, parts, 2) < 0) ++refused_;
}

}  // namespace statecast
