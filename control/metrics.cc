// SPDX-License-Identifier: BSD-3-Clause
// prometheus-cpp's own counters are atomics that every increment touches; ours live with the workers. So the page asks
// for all values when it is fetched (a Collectable), and nothing on the packet path knows of it.
#include "control/metrics.h"

#include <netinet/in.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/address.h"

namespace statecast {

namespace {

class Collected : public prometheus::Collectable {
 public:
  explicit Collected(std::function<std::vector<Metric>()> collect) : collect_(std::move(collect)) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::lock_guard lock(mutex_);
    std::vector<prometheus::MetricFamily> families;
    std::map<std::string, size_t> at;
    for (Metric& m : collect_()) {
      auto [it, is_new] = at.try_emplace(m.name, families.size());
      if (is_new) {
        families.emplace_back();
        families.back().name = m.name;
        families.back().help = std::move(m.help);
        families.back().type = m.is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
      }
      prometheus::MetricFamily& family = families[it->second];
      prometheus::ClientMetric& out = family.metric.emplace_back();
      for (auto& [key, value] : m.labels) out.label.push_back({key, value});
      (family.type == prometheus::MetricType::Counter ? out.counter.value : out.gauge.value) = m.value;
    }
    return families;
  }

 private:
  mutable std::mutex mutex_;
  std::function<std::vector<Metric>()> collect_;
};

socklen_t socket_address(const Endpoint& at, sockaddr_storage& out) {
  out = {};
  if (at.address.is_v4()) {
    auto* a = reinterpret_cast<sockaddr_in*>(&out);
    a->sin_family = AF_INET;
    a->sin_port = htons(at.port.value);
    std::memcpy(&a->sin_addr, at.address.raw.data(), 4);
    return sizeof *a;
  }
  auto* a = reinterpret_cast<sockaddr_in6*>(&out);
  a->sin6_family = AF_INET6;
  a->sin6_port = htons(at.port.value);
  std::memcpy(&a->sin6_addr, at.address.raw.data(), 16);
  return sizeof *a;
}

// What the system says to this address: the exposer reports every failure with the same words.
int try_to_listen(const Endpoint& at) {
  int fd = ::socket(at.address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage storage;
  socklen_t length = socket_address(at, storage);
  bool ok = ::bind(fd, reinterpret_cast<sockaddr*>(&storage), length) == 0 && ::listen(fd, 1) == 0;
  int error = ok ? 0 : errno;
  ::close(fd);
  return error;
}

// A connection that comes and goes. An address of all interfaces is reached by its own machine too.
void knock(const IpAddress& address, Port port) {
  int fd = ::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  sockaddr_storage storage;
  socklen_t length = socket_address({address, port}, storage);
  (void)!::connect(fd, reinterpret_cast<sockaddr*>(&storage), length);
  ::close(fd);
}

}  // namespace

std::string metric_name(std::string_view counter) {
  std::string name = "statecast_";
  for (char c : counter) name += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return name;
}

struct MetricsPage::State {
  IpAddress address;
  std::shared_ptr<Collected> collected;
  std::unique_ptr<prometheus::Exposer> exposer;  // after `collected`: its threads end first
};

MetricsPage::MetricsPage(std::unique_ptr<State> state) : state_(std::move(state)) {}

// The exposer's accepting thread looks for its end only when a connection comes or after 2 s: so one comes.
MetricsPage::~MetricsPage() {
  Port own = port();
  std::atomic<bool> ended{false};
  std::thread end([&] {
    state_->exposer.reset();
    ended = true;
  });
  while (!ended) {
    knock(state_->address, own);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  end.join();
}

Port MetricsPage::port() const {
  return {static_cast<uint16_t>(state_->exposer->GetListeningPorts().at(0))};
}

Result<std::unique_ptr<MetricsPage>> MetricsPage::serve(const std::string& address,
                                                        std::function<std::vector<Metric>()> collect) {
  auto at = Endpoint::parse(address);
  if (!at) return fail(Code::invalid, "expected ADDRESS:PORT such as \"127.0.0.1:9101\", got \"" + address + "\"");
  if (int error = try_to_listen(*at))
    return fail(Code::system, "cannot listen at " + address + ": " + std::strerror(error));
  auto state = std::make_unique<State>();
  state->address = at->address;
  state->collected = std::make_shared<Collected>(std::move(collect));
  try {
    state->exposer = std::make_unique<prometheus::Exposer>(address);
    state->exposer->RegisterCollectable(state->collected);
  } catch (const std::exception& e) { return fail(Code::system, "cannot listen at " + address + ": " + e.what()); }
  return std::unique_ptr<MetricsPage>(new MetricsPage(std::move(state)));
}

}  // namespace statecast
