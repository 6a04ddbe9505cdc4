// SPDX-License-Identifier: BSD-3-Clause
#include "control/etcd_io.h"

#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

namespace statecast {

namespace {

constexpr size_t kAnswerBytesMax = 4 << 20;  // more is no answer that we asked for
constexpr long kConnectMs = 1'000, kAnswerMs = 2'000;
constexpr int kLookMs = 100;  // what was reported from outside is seen by then

// A request under way. libcurl keeps its address.
struct Call {
  uint32_t number = 0;
  size_t endpoint = 0;  // that it went to
  bool stream = false, too_long = false;
  std::string body, taken;
  std::vector<std::string> lines;  // of a stream, complete
  CURL* easy = nullptr;
};

size_t take(char* data, size_t, size_t length, void* to) {
  Call& c = *static_cast<Call*>(to);
  c.taken.append(data, length);
  if (c.stream) {
    for (size_t end; (end = c.taken.find('\n')) != std::string::npos; c.taken.erase(0, end + 1))
      c.lines.push_back(c.taken.substr(0, end));
  }
  c.too_long = c.taken.size() > kAnswerBytesMax;
  return c.too_long ? 0 : length;
}

}  // namespace

struct EtcdMembership::Shared {
  Shared(EtcdSetup setup_in, MembershipOptions options)
      : setup(std::move(setup_in)), membership(std::move(options), MonotonicClock::now()), multi(curl_multi_init()) {
    headers = curl_slist_append(nullptr, "Content-Type: application/json");
  }
  ~Shared() {
    for (auto& c : calls) drop(*c);
    curl_slist_free_all(headers);
    curl_multi_cleanup(multi);
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  void run();
  void take_what_came();
  void begin(StoreRequest r);
  void end(Call& c, CURLcode code);
  void drop(Call& c) {
    curl_multi_remove_handle(multi, c.easy);
    curl_easy_cleanup(c.easy);
    c.easy = nullptr;
  }

  const EtcdSetup setup;
  mutable std::mutex mutex;  // guards membership and endpoint
  Membership membership;
  size_t endpoint = 0;

  // Of the thread alone.
  CURLM* multi;
  curl_slist* headers;
  std::vector<std::unique_ptr<Call>> calls;

  std::atomic<bool> stop{false};
  std::thread thread;
};

void EtcdMembership::Shared::begin(StoreRequest r) {
  auto c = std::make_unique<Call>();
  c->number = r.number;
  c->endpoint = endpoint;
  c->stream = r.stream;
  c->body = std::move(r.body);
  c->easy = curl_easy_init();
  const std::string url = setup.endpoints[endpoint] + r.path;
  auto set = [&](CURLoption option, auto value) { curl_easy_setopt(c->easy, option, value); };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_HTTPHEADER, headers);
  set(CURLOPT_POSTFIELDS, c->body.c_str());
  set(CURLOPT_POSTFIELDSIZE, static_cast<long>(c->body.size()));
  set(CURLOPT_WRITEFUNCTION, take);
  set(CURLOPT_WRITEDATA, static_cast<void*>(c.get()));
  set(CURLOPT_PRIVATE, static_cast<void*>(c.get()));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_PROXY, "");
  set(CURLOPT_FAILONERROR, 0L);
  set(CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  if (!r.stream) set(CURLOPT_TIMEOUT_MS, kAnswerMs);
  if (!setup.ca.empty()) set(CURLOPT_CAINFO, setup.ca.c_str());
  if (!setup.certificate.empty()) set(CURLOPT_SSLCERT, setup.certificate.c_str());
  if (!setup.key.empty()) set(CURLOPT_SSLKEY, setup.key.c_str());
  curl_multi_add_handle(multi, c->easy);
  calls.push_back(std::move(c));
}

// With `mutex` held.
void EtcdMembership::Shared::end(Call& c, CURLcode code) {
  long status = 0;
  curl_easy_getinfo(c.easy, CURLINFO_RESPONSE_CODE, &status);
  const Instant now = MonotonicClock::now();
  const std::string where = setup.endpoints[c.endpoint] + ": ";
  if (!membership.wants(c.number)) return;
  if (code == CURLE_OK && status == 200 && !c.stream) return membership.on_answer(c.number, c.taken, now);
  if (code != CURLE_OK)
    membership.on_failure(c.number, where + (c.too_long ? "too long an answer" : curl_easy_strerror(code)), now);
  else if (status != 200)
    membership.on_failure(c.number, where + "HTTP " + std::to_string(status) + " " + c.taken.substr(0, 200), now);
  else
    membership.on_failure(c.number, where + "the watch has ended", now);
  // Who did not answer at all may be gone: the next one is asked.
  if (code != CURLE_OK && c.endpoint == endpoint) endpoint = (endpoint + 1) % setup.endpoints.size();
}

void EtcdMembership::Shared::run() {
  while (!stop) {
    {
      std::lock_guard lock(mutex);
      const Instant now = MonotonicClock::now();
      if (membership.next_deadline() <= now) membership.on_deadline(now);
      for (StoreRequest r; membership.next_request(r);) begin(std::move(r));
    }
    int running = 0;
    curl_multi_perform(multi, &running);
    take_what_came();
    curl_multi_poll(multi, nullptr, 0, kLookMs, nullptr);
  }
}

void EtcdMembership::Shared::take_what_came() {
  std::lock_guard lock(mutex);
  for (auto& c : calls) {
    for (const std::string& line : std::exchange(c->lines, {}))
      if (membership.wants(c->number)) membership.on_answer(c->number, line, MonotonicClock::now());
  }
  int left = 0;
  while (CURLMsg* m = curl_multi_info_read(multi, &left)) {
    if (m->msg != CURLMSG_DONE) continue;
    char* of = nullptr;
    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &of);
    Call& c = *reinterpret_cast<Call*>(of);
    end(c, m->data.result);
    drop(c);
  }
  for (auto& c : calls)
    if (c->easy && !membership.wants(c->number)) drop(*c);
  std::erase_if(calls, [](const auto& c) { return !c->easy; });
}

EtcdMembership::EtcdMembership(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}

Result<std::unique_ptr<EtcdMembership>> EtcdMembership::start(EtcdSetup setup, MembershipOptions options) {
  if (setup.endpoints.empty()) return fail(Code::invalid, "etcd: no endpoint");
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return fail(Code::system, "libcurl does not start");
  auto shared = std::make_unique<Shared>(std::move(setup), std::move(options));
  Shared* s = shared.get();
  std::unique_ptr<EtcdMembership> m(new EtcdMembership(std::move(shared)));
  s->thread = std::thread([s] { s->run(); });
  return m;
}

EtcdMembership::~EtcdMembership() {
  shared_->stop = true;
  curl_multi_wakeup(shared_->multi);
  shared_->thread.join();
}

// A view of many proxies takes a while to be made, with the lock held.
std::optional<View> EtcdMembership::newer_than(uint32_t revision) const {
  std::unique_lock lock(shared_->mutex, std::try_to_lock);
  if (!lock || shared_->membership.view().id().revision <= revision) return std::nullopt;
  return shared_->membership.view();
}

bool EtcdMembership::handed_over() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->membership.handed_over();
}

MembershipStatus EtcdMembership::status() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->membership.status(MonotonicClock::now());
}

std::string EtcdMembership::endpoint() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->setup.endpoints[shared_->endpoint];
}

void EtcdMembership::report(MembershipReport report) {
  std::unique_lock lock(shared_->mutex, std::try_to_lock);
  if (lock) shared_->membership.report(std::move(report), MonotonicClock::now());
}

void EtcdMembership::forget(ProxyId dead) {
  std::lock_guard lock(shared_->mutex);
  shared_->membership.forget(dead, MonotonicClock::now());
}

void EtcdMembership::leave(bool leaving) {
  std::lock_guard lock(shared_->mutex);
  shared_->membership.leave(leaving, MonotonicClock::now());
}

}  // namespace statecast
