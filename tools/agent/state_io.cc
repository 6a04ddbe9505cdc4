// SPDX-License-Identifier: BSD-3-Clause
#include "tools/agent/state_io.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dataplane/envelope/envelope.h"

namespace statecast {

namespace {

constexpr unsigned kIncarnationFormat = 1;
constexpr int kRevocationsFormat = 1;

std::string errno_text() {
  return std::strerror(errno);
}

int64_t boot_time_ms() {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return int64_t(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return id;
}

// nullopt: the file is not there.
Result<std::optional<std::string>> read_file(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::optional<std::string>();
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return fail(Code::system, path + ": cannot be read: " + errno_text());
  return std::optional<std::string>(text.str());
}

Result<> write_file(const std::string& dir, const std::string& name, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return fail(Code::system, dir + ": cannot be made: " + error.message());
  std::string path = dir + "/" + name, beside = path + ".new";
  int fd = open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Code::system, beside + ": " + errno_text());
  bool good = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  std::string why = good ? "" : errno_text();
  close(fd);
  if (!good) return fail(Code::system, beside + ": " + why);
  if (rename(beside.c_str(), path.c_str()) < 0) return fail(Code::system, path + ": " + errno_text());
  if (int d = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); d >= 0) {  // the name, too
    (void)fsync(d);
    close(d);
  }
  return {};
}

}  // namespace

Result<uint32_t> raise_incarnation(const std::string& dir) {
  auto text = read_file(dir + "/incarnation");
  if (!text) return fail(text.error());
  uint32_t last = 0;
  if (*text) {
    std::istringstream in(**text);
    std::string kind;
    unsigned format = 0;
    if (!(in >> kind >> format >> last) || kind != "statecast-incarnation" || format != kIncarnationFormat)
      return fail(Code::invalid, dir +
                                     "/incarnation: expected \"statecast-incarnation 1 NUMBER\"; mend or remove it: "
                                     "the proxies say by which number to go on");
  }
  if (last >= kId24Max - 1) return fail(Code::invalid, dir + "/incarnation: 24 bits are used up");
  if (auto done = save_incarnation(dir, last + 1); !done) return fail(done.error());
  return last + 1;
}

Result<> save_incarnation(const std::string& dir, uint32_t incarnation) {
  return write_file(
      dir, "incarnation",
      "statecast-incarnation " + std::to_string(kIncarnationFormat) + " " + std::to_string(incarnation) + "\n");
}

Result<std::vector<Revocations::Left>> load_revocations(const std::string& dir) {
  const std::string path = dir + "/revocations.json";
  auto text = read_file(path);
  if (!text) return fail(text.error());
  std::vector<Revocations::Left> out;
  if (!*text) return out;
  auto bad = [&](const std::string& what) {
    return fail(Code::invalid, path + ": " + what +
                                   "; revoked sessions would come back without it: mend it, or remove "
                                   "it and revoke them again");
  };
  auto j = nlohmann::json::parse(**text, nullptr, false);
  if (j.is_discarded() || !j.is_object()) return bad("not a JSON object");
  try {
    if (j.at("version").get<int>() != kRevocationsFormat) return bad("a format of another version");
    int64_t elapsed = 0;
    if (j.at("boot_id").get<std::string>() == boot_id())
      elapsed = std::max<int64_t>(0, boot_time_ms() - j.at("saved_ms").get<int64_t>());
    for (const auto& r : j.at("revocations")) {
      auto id = parse_session_text(r.at("id").get<std::string>());
      if (!id) return bad("\"" + r.at("id").get<std::string>() + "\" is no session ID");
      int64_t left = r.at("remaining_ms").get<int64_t>() - elapsed;
      const auto name = r.value("name", uint64_t{0});
      if (name > kCounterMask) return bad("the name of a revocation has 40 bits");
      if (left > 0) out.push_back({*id, std::chrono::milliseconds(left), name});
    }
  } catch (const nlohmann::json::exception& e) { return bad(e.what()); }
  return out;
}

Result<> save_revocations(const std::string& dir, const std::vector<Revocations::Left>& revocations) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& r : revocations)
    list.push_back({{"id", to_string(r.id)}, {"remaining_ms", to_ms(r.remaining)}, {"name", r.name}});
  nlohmann::json j = {{"version", kRevocationsFormat},
                      {"boot_id", boot_id()},
                      {"saved_ms", boot_time_ms()},
                      {"revocations", std::move(list)}};
  return write_file(dir, "revocations.json", j.dump(1) + "\n");
}

}  // namespace statecast
