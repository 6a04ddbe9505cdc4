// SPDX-License-Identifier: BSD-3-Clause
// statecast-link: carries frames between pairs of devices and loses, delays, doubles and reorders them, where the
// kernel has no netem. What each direction does is told on standard input, a JSON object a line; it ends with its
// input.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "tools/lab/link/impairment.h"

namespace statecast {
namespace {

constexpr size_t kFrameMax =
    65'600;  // devices without segmentation offload give frames of an MTU; one that has it, more
constexpr unsigned kFramesPerTurn = 64;
constexpr int kSocketBuffer = 8 << 20;

const char* const kEpilog = R"(examples:
  statecast-link p1=outer1,inner1 p2=outer2,inner2    frames pass both ways, unimpaired at first

Then on standard input, one object a line (what is not named is 0; `link` "all": each of them; `direction`: both when
it is not named; `in` is from the first device to the second one):
  {"link": "p1", "direction": "in", "loss": 0.02, "delay_ms": 2, "jitter_ms": 5, "duplicate": 0.01}
  {"link": "p2", "cut": true}
  {"link": "all"}
)";

Error system_error(const std::string& doing) {
  return {Code::system, doing + ": " + std::strerror(errno)};
}

// A socket that sees what comes in through a device, and nothing that goes out.
Result<int> open_device(const std::string& device) {
  const unsigned index = if_nametoindex(device.c_str());
  if (index == 0) return fail(system_error("device " + device));
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(system_error("packet socket"));
  const int on = 1;
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer, sizeof kSocketBuffer);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kSocketBuffer, sizeof kSocketBuffer);
  packet_mreq all{};
  all.mr_ifindex = static_cast<int>(index);
  all.mr_type = PACKET_MR_PROMISC;
  setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = __builtin_bswap16(ETH_P_ALL);
  to.sll_ifindex = static_cast<int>(index);
  if (bind(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    Error e = system_error("bind to " + device);
    close(fd);
    return fail(e);
  }
  return fd;
}

struct Direction {
  std::string link, name;
  int from, to;
  Line line;
};

void carry(Direction& d, Instant now, std::vector<uint8_t>& buffer) {
  for (unsigned i = 0; i < kFramesPerTurn; ++i) {
    const ssize_t n = recv(d.from, buffer.data(), buffer.size(), 0);
    if (n <= 0) break;
    d.line.offer(Bytes(buffer).first(static_cast<size_t>(n)), now);
  }
  while (const Line::Frame* frame = d.line.due(now)) {
    // A full device loses the frame, as a wire would.
    if (send(d.to, frame->data(), frame->size(), 0) < 0 && errno == EINTR) continue;
    d.line.pop();
  }
}

Result<void> obey(const std::string& text, std::vector<Direction>& directions) {
  std::string link, direction;
  Impairment impairment;
  try {
    const auto order = nlohmann::json::parse(text);
    auto ms = [&](const char* key) { return Duration(static_cast<int64_t>(order.value(key, 0.0) * 1e6)); };
    link = order.at("link").get<std::string>();
    direction = order.value("direction", "");
    impairment = {.loss = order.value("loss", 0.0),
                  .duplicate = order.value("duplicate", 0.0),
                  .delay = ms("delay_ms"),
                  .jitter = ms("jitter_ms"),
                  .cut = order.value("cut", false)};
  } catch (const nlohmann::json::exception& e) { return fail(Code::invalid, "order " + text + ": " + e.what()); }
  unsigned meant = 0;
  for (Direction& d : directions) {
    if ((link != "all" && link != d.link) || (!direction.empty() && direction != d.name)) continue;
    d.line.set(impairment);
    ++meant;
  }
  if (meant == 0) return fail(Code::not_found, "no such link or direction: " + text);
  return {};
}

void report(const std::vector<Direction>& directions) {
  auto all = nlohmann::json::array();
  for (const Direction& d : directions) {
    const LineCounters& c = d.line.counters();
    all.push_back({{"link", d.link},
                   {"direction", d.name},
                   {"passed", c.passed},
                   {"lost", c.lost},
                   {"duplicated", c.duplicated},
                   {"overflowed", c.overflowed}});
  }
  std::printf("%s\n", all.dump().c_str());
}

// Until standard input ends.
void run(std::vector<Direction>& directions) {
  std::vector<pollfd> polled{{STDIN_FILENO, POLLIN, 0}};
  for (const Direction& d : directions) polled.push_back({d.from, POLLIN, 0});
  std::vector<uint8_t> buffer(kFrameMax);
  std::string orders;
  for (;;) {
    Instant next = Instant::max();
    for (const Direction& d : directions) next = std::min(next, d.line.next_due());
    timespec wait{1, 0};
    if (next != Instant::max()) {
      const auto ns = std::clamp<int64_t>((next - MonotonicClock::now()).count(), 0, 999'999'999);
      wait = {0, static_cast<long>(ns)};
    }
    ppoll(polled.data(), polled.size(), &wait, nullptr);
    const Instant now = MonotonicClock::now();
    for (Direction& d : directions) carry(d, now, buffer);
    if (polled[0].revents == 0) continue;
    std::array<char, 4096> text;
    const ssize_t n = read(STDIN_FILENO, text.data(), text.size());
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) return;
    if (n > 0) orders.append(text.data(), static_cast<size_t>(n));
    for (size_t end; (end = orders.find('\n')) != std::string::npos; orders.erase(0, end + 1)) {
      if (auto done = obey(orders.substr(0, end), directions); !done)
        std::fprintf(stderr, "statecast-link: %s\n", done.error().message.c_str());
    }
  }
}

Result<std::vector<Direction>> open_links(const std::vector<std::string>& links, uint64_t seed) {
  std::vector<Direction> out;
  for (const std::string& link : links) {
    const size_t equals = link.find('='), comma = link.find(',', equals);
    if (equals == std::string::npos || comma == std::string::npos)
      return fail(Code::invalid, "link \"" + link + "\": expected NAME=DEVICE,DEVICE");
    const std::string name = link.substr(0, equals);
    auto a = open_device(link.substr(equals + 1, comma - equals - 1));
    if (!a) return fail(a.error().in("link " + name));
    auto b = open_device(link.substr(comma + 1));
    if (!b) return fail(b.error().in("link " + name));
    out.push_back({name, "in", *a, *b, Line(seed + out.size())});
    out.push_back({name, "out", *b, *a, Line(seed + out.size())});
  }
  return out;
}

}  // namespace
}  // namespace statecast

int main(int argc, char** argv) {
  CLI::App app("Carries frames between pairs of devices, and loses, delays, doubles and reorders them.");
  app.footer(statecast::kEpilog);
  std::vector<std::string> links;
  uint64_t seed = 1;
  app.add_option("links", links, "NAME=DEVICE,DEVICE")->required();
  app.add_option("--seed", seed, "of what is lost, doubled and delayed")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  auto directions = statecast::open_links(links, seed);
  if (!directions) {
    std::fprintf(stderr, "statecast-link: %s\n", directions.error().message.c_str());
    return 1;
  }
  statecast::run(*directions);
  statecast::report(*directions);
  return 0;
}
