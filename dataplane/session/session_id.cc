// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/session/session_id.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/siphash.h"
#include "base/uninitialized.h"

namespace statecast {

namespace {

constexpr SessionFormRow kForms[] = {
    {SessionForm::tcp4, "tcp", 16, 16, 0, "client address 4, server address 4, client port 2, server port 2"},
    {SessionForm::tcp6, "tcp", 40, 40, 0, "client address 16, server address 16, client port 2, server port 2"},
    {SessionForm::udp4, "udp", 16, 16, 0, "client address 4, server address 4, client port 2, server port 2"},
    {SessionForm::udp6, "udp", 40, 40, 0, "client address 16, server address 16, client port 2, server port 2"},
    {SessionForm::announced4, "announced4", 14, 14, 0, "client address 4, server address 4, server port 2"},
    {SessionForm::announced6, "announced6", 38, 38, 0, "client address 16, server address 16, server port 2"},
    {SessionForm::connection_id, "connection_id", 5, 24, 1, "connection ID 1 to 20"},
    {SessionForm::spi, "spi", 12, 24, 12, "SPI 4, server address 4 or 16"},
    {SessionForm::verification_tag, "verification_tag", 12, 12, 0, "verification tag 4, client port 2, server port 2"},
    {SessionForm::generic, "generic", 5, kSessionIdMax, 1, "bytes 1 to 60"},
    {SessionForm::client4, "client4", 8, 8, 0, "client address 4"},
    {SessionForm::client6, "client6", 12, 12, 0, "client address's first 8"},
};

const SessionFormRow* row_of(SessionForm form) {
  for (const SessionFormRow& row : kForms)
    if (row.form == form) return &row;
  return nullptr;
}

bool length_fits(const SessionFormRow& row, size_t length) {
  if (length < row.shortest || length > row.longest) return false;
  return row.step == 0 || (length - row.shortest) % row.step == 0;
}

// The address length of a tuple form; 0 for the other forms.
size_t tuple_address_size(SessionForm form) {
  switch (form) {
    case SessionForm::tcp4:
    case SessionForm::udp4: return 4;
    case SessionForm::tcp6:
    case SessionForm::udp6: return 16;
    default: return 0;
  }
}

constexpr char kHex[] = "0123456789abcdef";

std::string hex(Bytes bytes) {
  std::string text;
  for (uint8_t b : bytes) {
    text += kHex[b >> 4];
    text += kHex[b & 15];
  }
  return text;
}

// Text of hex digits to at most `out.size()` bytes; how many, or nullopt.
std::optional<size_t> unhex(std::string_view text, MutableBytes out) {
  if (text.size() % 2 || text.size() / 2 > out.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); i += 2) {
    auto [end, err] = std::from_chars(text.data() + i, text.data() + i + 2, out[i / 2], 16);
    if (err != std::errc{} || end != text.data() + i + 2) return std::nullopt;
  }
  return text.size() / 2;
}

// The next word of a text whose words are separated by one space each.
std::string_view next_word(std::string_view& text) {
  size_t space = text.find(' ');
  std::string_view word = text.substr(0, space);
  text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
  return word;
}

SessionKey key_of(const SipTag& tag) {
  uint64_t halves[2];
  std::memcpy(halves, tag.data(), sizeof halves);
  return {__builtin_bswap64(halves[0]), __builtin_bswap64(halves[1])};
}

}  // namespace

std::span<const SessionFormRow> session_forms() {
  return kForms;
}

SessionId SessionId::tuple(GroupId group, Protocol protocol, const Endpoint& client, const Endpoint& server) {
  return tuple(group, protocol, client.address.bytes(), client.port.value, server.address.bytes(), server.port.value);
}

SessionId SessionId::tuple(GroupId group, Protocol protocol, Bytes client, uint16_t client_port, Bytes server,
                           uint16_t server_port) {
  SessionId id;
  id.set_tuple(group, protocol, client, client_port, server, server_port);
  return id;
}

// Without a Writer, because packets come here: two sizes known in advance.
void SessionId::set_tuple(GroupId group, Protocol protocol, Bytes client, uint16_t client_port, Bytes server,
                          uint16_t server_port) {
  SC_ASSERT(client.size() == server.size() && (client.size() == 4 || client.size() == 16));
  SC_ASSERT(protocol == Protocol::tcp || protocol == Protocol::udp);
  const bool tcp = protocol == Protocol::tcp;
  const uint16_t ports[2] = {__builtin_bswap16(client_port), __builtin_bswap16(server_port)};
  if (client.size() == 4) {
    set_head(group, tcp ? SessionForm::tcp4 : SessionForm::udp4);
    std::memcpy(&raw[4], client.data(), 4);
    std::memcpy(&raw[8], server.data(), 4);
    std::memcpy(&raw[12], ports, 4);
    length = 16;
  } else {
    set_head(group, tcp ? SessionForm::tcp6 : SessionForm::udp6);
    std::memcpy(&raw[4], client.data(), 16);
    std::memcpy(&raw[20], server.data(), 16);
    std::memcpy(&raw[36], ports, 4);
    length = 40;
  }
}

std::optional<SessionId> SessionId::make(GroupId group, SessionForm form, Bytes fields) {
  const SessionFormRow* row = row_of(form);
  if (!row || group.value == 0 || group.value > kId24Max) return std::nullopt;
  if (fields.size() > kSessionIdMax - 4 || !length_fits(*row, 4 + fields.size())) return std::nullopt;
  SessionId id;
  Writer w(id.raw);
  w.u8(static_cast<uint8_t>(form));
  w.u24(group.value);
  w.bytes(fields);
  id.length = static_cast<uint8_t>(w.size());
  return id;
}

std::optional<SessionId> SessionId::parse(Bytes bytes) {
  Reader r(bytes);
  auto form = SessionForm(r.u8());
  GroupId group{r.u24()};
  if (!r.ok()) return std::nullopt;
  return make(group, form, r.rest());
}

std::optional<SessionTuple> session_tuple(const SessionId& id) {
  size_t size = tuple_address_size(id.form());
  if (size == 0 || id.length != 4 + 2 * size + 4) return std::nullopt;
  Reader r(id.fields());
  auto address = [&] { return size == 4 ? IpAddress::v4(r.bytes(4)) : IpAddress::v6(r.bytes(16)); };
  SessionTuple t;
  t.protocol = id.form() == SessionForm::tcp4 || id.form() == SessionForm::tcp6 ? Protocol::tcp : Protocol::udp;
  t.client.address = address();
  t.server.address = address();
  t.client.port = Port{r.u16()};
  t.server.port = Port{r.u16()};
  return t;
}

std::string to_string(const SessionId& id) {
  const SessionFormRow* row = row_of(id.form());
  if (id.length < 4 || !row) return "none";
  std::string text = std::to_string(id.group().value) + " " + row->name + " ";
  if (auto t = session_tuple(id)) return text + to_string(t->client) + " " + to_string(t->server);
  return text + hex(id.fields());
}

std::optional<SessionId> parse_session_text(std::string_view text) {
  std::string_view number = next_word(text), name = next_word(text);
  uint32_t group = 0;
  auto [end, err] = std::from_chars(number.data(), number.data() + number.size(), group);
  if (err != std::errc{} || end != number.data() + number.size() || group == 0 || group > kId24Max) return std::nullopt;

  if (name == "tcp" || name == "udp") {
    auto client = Endpoint::parse(next_word(text));
    auto server = Endpoint::parse(text);
    if (!client || !server || client->address.family != server->address.family) return std::nullopt;
    return SessionId::tuple(GroupId{group}, name == "tcp" ? Protocol::tcp : Protocol::udp, *client, *server);
  }
  for (const SessionFormRow& row : kForms) {
    if (name != row.name) continue;
    std::array<uint8_t, kSessionIdMax - 4> fields;
    auto size = unhex(text, fields);
    if (!size) return std::nullopt;
    return SessionId::make(GroupId{group}, row.form, Bytes(fields).first(*size));
  }
  return std::nullopt;
}

std::string to_string(SessionKey k) {
  std::array<uint8_t, 16> raw;
  Writer w(raw);
  w.u64(k.high);
  w.u64(k.low);
  return hex(raw);
}

SessionKey session_key(const SessionId& id, const GroupSecret& secret) {
  return key_of(siphash128(secret.raw, id.bytes()));
}

void session_keys(const SessionId* const ids[], const GroupSecret* const secrets[], SessionKey out[], size_t n) {
  constexpr size_t kStep = 32;  // a burst
  const uint8_t *secret[kStep], *message[kStep];
  Uninitialized<SipTag, kStep> tags;
  for (size_t done = 0; done < n;) {
    const size_t step = std::min(kStep, n - done);
    bool tuples4 = true;
    for (size_t i = 0; i < step; ++i) {
      const SessionId& id = *ids[done + i];
      secret[i] = secrets[done + i]->raw.data();
      message[i] = id.raw.data();
      tuples4 &= id.length == 16;
    }
    if (tuples4) [[likely]] {
      siphash128_many_of_16(secret, message, step, tags.at);
    } else {
      SipJob jobs[kStep];
      for (size_t i = 0; i < step; ++i) jobs[i] = {secret[i], message[i], ids[done + i]->length, tags.at[i].data()};
      siphash128_many({jobs, step});
    }
    for (size_t i = 0; i < step; ++i) out[done + i] = key_of(tags.at[i]);
    done += step;
  }
}

}  // namespace statecast
