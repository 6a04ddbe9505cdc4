// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/session/session_id.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/rng.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

nlohmann::json vectors() {
  std::ifstream in(VECTORS);
  EXPECT_TRUE(in) << VECTORS;
  return nlohmann::json::parse(in);
}

GroupSecret secret_of(Bytes bytes) {
  GroupSecret s;
  std::copy(bytes.begin(), bytes.end(), s.raw.begin());
  return s;
}

TEST(SessionId, ValidVectors) {
  std::set<int> forms;
  nlohmann::json all = vectors();
  for (const auto& v : all["valid"]) {
    SCOPED_TRACE(std::string(v["name"]));
    Packet raw = unhex(std::string(v["id"]));
    auto id = SessionId::parse(raw);
    ASSERT_TRUE(id);
    forms.insert(static_cast<int>(id->form()));
    EXPECT_EQ(hex(id->bytes()), v["id"]);
    EXPECT_EQ(id->group().value, v["group"]);
    EXPECT_EQ(to_string(*id), v["text"]);
    auto back = parse_session_text(std::string(v["text"]));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, *id);
    EXPECT_EQ(std::hash<SessionId>()(*back), std::hash<SessionId>()(*id));

    Packet secret = unhex(std::string(v["secret"]));
    EXPECT_EQ(to_string(session_key(*id, secret_of(secret))), v["key"]);
    uint8_t sodium[16];
    crypto_shorthash_siphashx24(sodium, raw.data(), raw.size(), secret.data());
    EXPECT_EQ(hex(sodium), v["key"]);

    auto tuple = session_tuple(*id);
    ASSERT_EQ(tuple.has_value(), v["fields"].contains("client_port") && v["fields"].contains("server"));
    if (!tuple) continue;
    const auto& f = v["fields"];
    EXPECT_EQ(to_string(tuple->client.address), f["client"]);
    EXPECT_EQ(tuple->client.port.value, f["client_port"]);
    EXPECT_EQ(to_string(tuple->server.address), f["server"]);
    EXPECT_EQ(tuple->server.port.value, f["server_port"]);
    EXPECT_EQ(SessionId::tuple(id->group(), tuple->protocol, tuple->client, tuple->server), *id);
  }
  EXPECT_EQ(forms.size(), session_forms().size()) << "a form without a vector";
}

TEST(SessionId, InvalidVectors) {
  nlohmann::json all = vectors();
  for (const auto& v : all["invalid"]) EXPECT_FALSE(SessionId::parse(unhex(std::string(v["id"])))) << v["name"];
  for (const auto& text : all["invalid_text"]) EXPECT_FALSE(parse_session_text(std::string(text))) << text;
}

TEST(SessionId, EveryLengthOfEveryForm) {
  for (const SessionFormRow& row : session_forms()) {
    for (size_t length = 0; length <= 70; ++length) {
      Packet raw(length);
      if (length) raw[0] = static_cast<uint8_t>(row.form);
      if (length > 3) raw[3] = 1;
      bool valid =
          length >= row.shortest && length <= row.longest && (row.step == 0 || (length - row.shortest) % row.step == 0);
      EXPECT_EQ(SessionId::parse(raw).has_value(), valid) << row.name << " " << length;
    }
  }
}

TEST(SessionId, NoneHasAText) {
  EXPECT_EQ(to_string(SessionId{}), "none");
}

TEST(SessionKey, WordsAndSlot) {
  SessionKey k{0x0123456789abcdef, 0xfedcba9876543210};
  EXPECT_EQ(to_string(k), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(k.slot().value, 0x0123);
}

TEST(SessionKey, ManyEqualOneByOne) {
  Rng rng(4);
  for (size_t n : {0, 1, 2, 3, 7, 8, 31, 32, 33, 64, 100}) {
    std::vector<SessionId> ids;
    std::vector<GroupSecret> secrets(n);
    for (size_t i = 0; i < n; ++i) {
      rng.fill(secrets[i].raw);
      bool v6 = rng.chance(0.5);
      Packet raw(v6 ? 36 : 12);
      rng.fill(raw);
      ids.push_back(*SessionId::make(GroupId{1 + static_cast<uint32_t>(rng.below(100))},
                                     v6 ? SessionForm::tcp6 : SessionForm::udp4, raw));
    }
    std::vector<const SessionId*> id_at;
    std::vector<const GroupSecret*> secret_at;
    for (size_t i = 0; i < n; ++i) id_at.push_back(&ids[i]), secret_at.push_back(&secrets[i]);
    std::vector<SessionKey> keys(n);
    session_keys(id_at.data(), secret_at.data(), keys.data(), n);
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(keys[i], session_key(ids[i], secrets[i])) << i << " of " << n;
  }
}

}  // namespace
}  // namespace statecast::test
