// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/keys.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

namespace statecast {

void wipe(MutableBytes secret) {
  sodium_memzero(secret.data(), secret.size());
}

namespace {

// The one KDF: BLAKE2b, keyed with the parent secret, over the label, a zero byte and the fields in network order.
// Labels contain no zero byte and each label has fields of one length, so no two derivations hash the same bytes.
class Derivation {
 public:
  explicit Derivation(std::string_view label) : w_(message_) {
    w_.bytes(Bytes(reinterpret_cast<const uint8_t*>(label.data()), label.size()));
    w_.u8(0);
  }
  Derivation& u8(uint8_t v) { return w_.u8(v), *this; }
  Derivation& u32(uint32_t v) { return w_.u32(v), *this; }
  Derivation& bytes(Bytes b) { return w_.bytes(b), *this; }
  template <class Secret>
  Secret under(Bytes parent) {
    Secret out;
    crypto_generichash(out.raw.data(), out.raw.size(), message_, w_.size(), parent.data(), parent.size());
    return out;
  }

 private:
  uint8_t message_[96] = {};
  Writer w_;
};

constexpr std::string_view kFleetWord = "statecast-fleet-secret";
constexpr std::string_view kNodeWord = "statecast-node-key";

Error system_error(const std::string& path, const char* what) {
  return {Code::system, path + ": " + what + ": " + std::strerror(errno)};
}

// The file's text without its newline; refuses what others may read.
Result<std::string> read_secret_file(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT)
      return fail(Code::not_found, path + ": no such key file; make one with `statecast keys`, or correct the path");
    return fail(system_error(path, "cannot be opened"));
  }
  struct stat st {};
  std::string text(256, '\0');
  ssize_t n = -1;
  bool stat_ok = ::fstat(fd, &st) == 0;
  if (stat_ok && S_ISREG(st.st_mode)) n = ::read(fd, text.data(), text.size());
  int saved = errno;
  ::close(fd);
  errno = saved;
  if (!stat_ok) return fail(system_error(path, "cannot be examined"));
  if (!S_ISREG(st.st_mode)) return fail(Code::invalid, path + ": is not a regular file");
  if (st.st_mode & 077)
    return fail(Code::denied, path + ": others than its owner can read this key; run `chmod 600 " + path +
                                  "`, and make a new key if somebody may have read it");
  if (n < 0) return fail(system_error(path, "cannot be read"));
  text.resize(static_cast<size_t>(n));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

Result<> write_secret_file(const std::string& path, std::string text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    if (errno == EEXIST)
      return fail(Code::conflict, path + ": exists; a key is never overwritten (move the old file away first)");
    return fail(system_error(path, "cannot be created"));
  }
  // The umask may only have taken bits away; owner's read and write must be there.
  bool ok = ::fchmod(fd, 0600) == 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
            ::fsync(fd) == 0;
  int saved = errno;
  ::close(fd);
  sodium_memzero(text.data(), text.size());
  if (ok) return {};
  ::unlink(path.c_str());
  errno = saved;
  return fail(system_error(path, "cannot be written"));
}

std::string hex(Bytes raw) {
  std::string out(raw.size() * 2 + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), raw.data(), raw.size());
  out.pop_back();
  return out;
}

bool unhex(std::string_view text, MutableBytes out) {
  size_t n = 0;
  return text.size() == out.size() * 2 &&
         sodium_hex2bin(out.data(), out.size(), text.data(), text.size(), nullptr, &n, nullptr) == 0 && n == out.size();
}

// Takes "WORD " off the front of `text`.
bool take_word(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word) || text.size() == word.size() || text[word.size()] != ' ') return false;
  text.remove_prefix(word.size() + 1);
  return true;
}

Error not_a_key(const std::string& path, std::string_view word, const char* form) {
  return {Code::invalid, path + ": expected one line \"" + std::string(word) + " " + form + "\""};
}

}  // namespace

FleetSecret make_fleet_secret() {
  FleetSecret s;
  randombytes_buf(s.raw.data(), s.raw.size());
  return s;
}

NodeKey member_node_key(const FleetSecret& fleet, MemberId member) {
  return Derivation("statecast member").u32(member.value).under<NodeKey>(fleet.raw);
}

PairKey member_pair_key(const NodeKey& node, ProxyId proxy) {
  return Derivation("statecast pair").u32(proxy.value).under<PairKey>(node.raw);
}

PairKey proxy_pair_key(const FleetSecret& fleet, ProxyId a, ProxyId b) {
  auto [low, high] = std::minmax(a.value, b.value);
  return Derivation("statecast proxy").u32(low).u32(high).under<PairKey>(fleet.raw);
}

GroupSecret group_secret(const FleetSecret& fleet, GroupId group, uint8_t epoch) {
  return Derivation("statecast group").u32(group.value).u8(epoch).under<GroupSecret>(fleet.raw);
}

TagKey session_tag_key(const PairKey& pair, const Salt& initiator, const Salt& responder, NodeId sender) {
  return Derivation("statecast session").bytes(initiator).bytes(responder).u32(sender.value).under<TagKey>(pair.raw);
}

TagKey hello_tag_key(const PairKey& pair, NodeId sender) {
  return Derivation("statecast hello").u32(sender.value).under<TagKey>(pair.raw);
}

Result<> write_fleet_secret(const std::string& path, const FleetSecret& secret) {
  return write_secret_file(path, std::string(kFleetWord) + " " + hex(secret.raw) + "\n");
}

Result<FleetSecret> read_fleet_secret(const std::string& path) {
  auto text = read_secret_file(path);
  if (!text) return fail(text.error());
  std::string_view rest = *text;
  FleetSecret out;
  bool ok = take_word(rest, kFleetWord) && unhex(rest, out.raw);
  sodium_memzero(text->data(), text->size());
  if (!ok) return fail(not_a_key(path, kFleetWord, "<64 hex digits>"));
  return out;
}

Result<> write_node_key(const std::string& path, MemberId member, const NodeKey& key) {
  return write_secret_file(
      path, std::string(kNodeWord) + " " + to_string(NodeId::member(member)) + " " + hex(key.raw) + "\n");
}

Result<NodeKeyFile> read_node_key(const std::string& path) {
  auto text = read_secret_file(path);
  if (!text) return fail(text.error());
  std::string_view rest = *text;
  NodeKeyFile out{};
  bool ok = take_word(rest, kNodeWord) && rest.starts_with('m');
  if (ok) {
    size_t space = rest.find(' ');
    std::string_view number = rest.substr(1, space == std::string_view::npos ? space : space - 1);
    auto [end, err] = std::from_chars(number.data(), number.data() + number.size(), out.member.value);
    ok = space != std::string_view::npos && err == std::errc{} && end == number.data() + number.size() &&
         out.member.value >= 1 && out.member.value <= kId24Max && unhex(rest.substr(space + 1), out.key.raw);
  }
  sodium_memzero(text->data(), text->size());
  if (!ok) return fail(not_a_key(path, kNodeWord, "m<member id> <64 hex digits>"));
  return out;
}

}  // namespace statecast
