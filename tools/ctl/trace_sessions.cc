// SPDX-License-Identifier: BSD-3-Clause
#include "tools/ctl/trace_sessions.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "config/values.h"

namespace statecast {
namespace {

using Json = nlohmann::json;

const GroupConfig* group_of(const ProxyConfig& config, const IpAddress& server) {
  const GroupConfig* best = nullptr;
  int best_length = -1;
  for (const GroupConfig& g : config.groups) {
    for (const Prefix& p : g.addresses) {
      if (p.length > best_length && p.contains(server)) {
        best = &g;
        best_length = p.length;
      }
    }
  }
  return best;
}

struct Tuple {
  Protocol protocol;
  Endpoint client, server;
};

std::optional<Protocol> protocol_of(std::string_view word) {
  if (word == "tcp") return Protocol::tcp;
  if (word == "udp") return Protocol::udp;
  return std::nullopt;
}

// "tcp CLIENT:PORT SERVER:PORT", with or without a group in front.
std::optional<Tuple> tuple_of_text(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  if (words.size() == 4) words.erase(words.begin());
  if (words.size() != 3) return std::nullopt;
  const auto protocol = protocol_of(words[0]);
  const auto client = Endpoint::parse(words[1]), server = Endpoint::parse(words[2]);
  if (!protocol || !client || !server) return std::nullopt;
  return Tuple{*protocol, *client, *server};
}

class EntryReader {
 public:
  EntryReader(const Json& json, std::string where, const ProxyConfig& config)
      : json_(json), where_(std::move(where)), config_(config) {}

  Result<PreloadedSession> read() {
    if (!json_.is_object()) return wrong("", "an object");
    const auto tuple = read_tuple();
    if (!tuple)
      return wrong("session", "{client, client_port, server, server_port} or \"tcp CLIENT:PORT SERVER:PORT\"");
    if (tuple->client.address.family != tuple->server.address.family) {
      return wrong("session", "client and server of one address family");
    }
    const GroupConfig* group = group_of(config_, tuple->server.address);
    if (!group) return wrong("session", "a server address of a group, not " + to_string(tuple->server.address));
    if (const Json* g = find("group"); g && !(g->is_string() && g->get<std::string>() == group->name)) {
      return wrong("group", "\"" + group->name + "\", whose address " + to_string(tuple->server.address) + " is");
    }
    PreloadedSession out{
        SessionId::tuple(group->id, tuple->protocol, tuple->client, tuple->server), {}, group->lease.time};
    out.entry.group = group->id;
    if (!read_member(out.entry)) return wrong("member", "\"m1\" (a member of the file), \"DROP\" or \"STATELESS\"");
    if (!read_bytes(out.entry.bytes)) return wrong("bytes", "a number, \"64KiB\" or \"unlimited\"");
    if (!read_lifetime(out.lifetime)) return wrong("lifetime", "a duration such as \"10s\", up to 365 days");
    return out;
  }

 private:
  tl::unexpected<Error> wrong(const std::string& key, const std::string& expected) const {
    return fail(Code::invalid, where_ + (key.empty() ? "" : "." + key) + ": expected " + expected);
  }
  const Json* find(const char* key) const {
    const auto at = json_.find(key);
    return at == json_.end() || at->is_null() ? nullptr : &*at;
  }
  static std::optional<Endpoint> endpoint(const Json& session, const char* address, const char* port) {
    const auto a = session.find(address), p = session.find(port);
    if (a == session.end() || p == session.end() || !a->is_string() || !p->is_number_unsigned()) return std::nullopt;
    const auto ip = IpAddress::parse(a->get<std::string>());
    if (!ip || p->get<uint64_t>() > UINT16_MAX) return std::nullopt;
    return Endpoint{*ip, Port{p->get<uint16_t>()}};
  }
  std::optional<Tuple> read_tuple() const {
    const Json* session = find("session");
    if (!session) return std::nullopt;
    if (session->is_string()) return tuple_of_text(session->get<std::string>());
    if (!session->is_object()) return std::nullopt;
    const Json* word = find("protocol");
    if (const auto inside = session->find("protocol"); inside != session->end()) word = &*inside;
    auto protocol = Protocol::tcp;
    if (word) {
      const auto named = word->is_string() ? protocol_of(word->get<std::string>()) : std::nullopt;
      if (!named) return std::nullopt;
      protocol = *named;
    }
    const auto client = endpoint(*session, "client", "client_port"),
               server = endpoint(*session, "server", "server_port");
    if (!client || !server) return std::nullopt;
    return Tuple{protocol, *client, *server};
  }
  bool read_member(CacheEntry& e) const {
    const Json* m = find("member");
    if (!m) return false;
    std::string text = m->is_string() ? m->get<std::string>() : m->is_number_unsigned() ? m->dump() : "";
    if (text == "DROP") {
      e.target = CacheTarget::drop;
      return true;
    }
    if (text == "STATELESS") {
      e.target = CacheTarget::stateless;
      return true;
    }
    if (text.starts_with('m')) text.erase(0, 1);
    const auto id = parse_whole_number(text, kId24Max);
    if (!id) return false;
    e.member = MemberId{static_cast<uint32_t>(*id)};
    return std::find(config_.members.begin(), config_.members.end(), e.member) != config_.members.end();
  }
  bool read_bytes(uint64_t& out) const {
    const Json* b = find("bytes");
    if (!b) b = find("bytes_left");
    if (!b) return true;
    if (b->is_number_unsigned()) {
      out = b->get<uint64_t>();
      return true;
    }
    const auto parsed = b->is_string() ? parse_byte_count(b->get<std::string>()) : std::nullopt;
    if (parsed) out = parsed->value;
    return parsed.has_value();
  }
  bool read_lifetime(Duration& out) const {
    constexpr Duration kMax = 24h * 365;
    const Json* ms = find("lifetime_ms");
    if (!ms) ms = find("expires_in_ms");
    if (ms) {
      if (!ms->is_number_unsigned() || ms->get<uint64_t>() > static_cast<uint64_t>(to_ms(kMax))) return false;
      out = std::chrono::milliseconds(ms->get<int64_t>());
      return true;
    }
    const Json* text = find("lifetime");
    if (!text) return true;
    const auto parsed = text->is_string() ? parse_duration(text->get<std::string>()) : std::nullopt;
    if (!parsed || *parsed > kMax) return false;
    out = *parsed;
    return true;
  }

  const Json& json_;
  std::string where_;
  const ProxyConfig& config_;
};

// An array, an object with the array under "sessions", or objects line by line.
Result<std::vector<Json>> entries_of(std::string_view text, const std::string& name) {
  Json whole = Json::parse(text, nullptr, false);
  if (whole.is_object() && whole.contains("sessions")) whole = whole["sessions"];
  if (whole.is_array()) return whole.get<std::vector<Json>>();
  if (whole.is_object()) return std::vector<Json>{whole};
  std::vector<Json> lines;
  size_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    lines.push_back(Json::parse(line, nullptr, false));
    if (lines.back().is_discarded()) {
      return fail(Code::invalid,
                  name + ": neither a JSON array nor one object per line (line " + std::to_string(number) + ")");
    }
  }
  return lines;
}

}  // namespace

Result<std::vector<PreloadedSession>> parse_trace_sessions(std::string_view text, const std::string& name,
                                                           const ProxyConfig& config) {
  auto entries = entries_of(text, name);
  if (!entries) return fail(entries.error());
  std::vector<PreloadedSession> out;
  for (size_t i = 0; i < entries->size(); ++i) {
    auto entry = EntryReader((*entries)[i], name + ": [" + std::to_string(i) + "]", config).read();
    if (!entry) return fail(entry.error());
    out.push_back(std::move(*entry));
  }
  return out;
}

Result<std::vector<PreloadedSession>> load_trace_sessions(const std::string& path, const ProxyConfig& config) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::not_found, path + ": cannot be opened");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return parse_trace_sessions(text, path, config);
}

}  // namespace statecast
