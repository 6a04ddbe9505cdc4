// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/envelope/keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/packet_builder.h"

namespace statecast::test {
namespace {

nlohmann::json vectors() {
  std::ifstream in(std::string(VECTORS) + "/keys.json");
  EXPECT_TRUE(in);
  return nlohmann::json::parse(in);
}

template <class Secret>
Secret secret_of(const nlohmann::json& text) {
  Secret s;
  Packet raw = unhex(std::string(text));
  EXPECT_EQ(raw.size(), s.raw.size());
  std::copy(raw.begin(), raw.end(), s.raw.begin());
  return s;
}

Salt salt_of(const nlohmann::json& text) {
  Salt s{};
  Packet raw = unhex(std::string(text));
  std::copy(raw.begin(), raw.end(), s.begin());
  return s;
}

class KeyFiles : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/statecast-keys-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string put(const std::string& text, mode_t mode = 0600) {
    std::string p = path("key" + std::to_string(++count_));
    std::ofstream(p) << text;
    chmod(p.c_str(), mode);
    return p;
  }

 private:
  std::string folder_;
  int count_ = 0;
};

TEST(Keys, Vectors) {
  std::set<std::string> seen;
  nlohmann::json all = vectors();
  for (const auto& v : all["valid"]) {
    std::string what = v["derive"];
    SCOPED_TRACE(v.dump());
    seen.insert(what);
    std::string got;
    if (what == "member_node_key")
      got = hex(member_node_key(secret_of<FleetSecret>(v["parent"]), MemberId{v["member"]}).raw);
    if (what == "member_pair_key") got = hex(member_pair_key(secret_of<NodeKey>(v["parent"]), ProxyId{v["proxy"]}).raw);
    if (what == "proxy_pair_key") {
      auto fleet = secret_of<FleetSecret>(v["parent"]);
      ProxyId a{v["proxies"][0]}, b{v["proxies"][1]};
      got = hex(proxy_pair_key(fleet, a, b).raw);
      EXPECT_EQ(proxy_pair_key(fleet, a, b), proxy_pair_key(fleet, b, a));
    }
    if (what == "group_secret")
      got = hex(group_secret(secret_of<FleetSecret>(v["parent"]), GroupId{v["group"]}, v["epoch"]).raw);
    if (what == "session_tag_key")
      got = hex(session_tag_key(secret_of<PairKey>(v["parent"]), salt_of(v["initiator_salt"]),
                                salt_of(v["responder_salt"]), NodeId{v["sender"]})
                    .raw);
    if (what == "hello_tag_key") got = hex(hello_tag_key(secret_of<PairKey>(v["parent"]), NodeId{v["sender"]}).raw);
    EXPECT_EQ(got, v["key"]);
  }
  EXPECT_EQ(seen.size(), 6u);
}

TEST(Keys, FleetSecretsDiffer) {
  EXPECT_NE(make_fleet_secret(), make_fleet_secret());
}

TEST(Keys, ASecretIsWipedWhenItGoes) {
  alignas(FleetSecret) unsigned char place[sizeof(FleetSecret)];
  auto* s = new (place) FleetSecret;
  s->raw.fill(0x55);
  s->~FleetSecret();
  for (volatile unsigned char* p = place; p != place + sizeof place; ++p) ASSERT_EQ(*p, 0);
}

TEST_F(KeyFiles, Vectors) {
  nlohmann::json all = vectors();
  for (const auto& v : all["valid_files"]) {
    SCOPED_TRACE(v.dump());
    std::string p = put(v["text"]);
    if (v["kind"] == "fleet") {
      auto key = read_fleet_secret(p);
      ASSERT_TRUE(key) << key.error().message;
      EXPECT_EQ(hex(key->raw), v["key"]);
    } else {
      auto file = read_node_key(p);
      ASSERT_TRUE(file) << file.error().message;
      EXPECT_EQ(file->member.value, v["member"]);
      EXPECT_EQ(hex(file->key.raw), v["key"]);
    }
  }
  for (const auto& v : all["invalid_files"]) {
    SCOPED_TRACE(v.dump());
    std::string p = put(v["text"]);
    Error e = v["kind"] == "fleet" ? read_fleet_secret(p).error() : read_node_key(p).error();
    EXPECT_EQ(e.code, Code::invalid);
    EXPECT_NE(e.message.find(p), std::string::npos);
    EXPECT_NE(e.message.find("expected one line"), std::string::npos);
  }
}

TEST_F(KeyFiles, WrittenAndReadBack) {
  FleetSecret fleet = make_fleet_secret();
  mode_t before = umask(0);
  ASSERT_TRUE(write_fleet_secret(path("fleet"), fleet));
  NodeKey node = member_node_key(fleet, MemberId{7});
  ASSERT_TRUE(write_node_key(path("node"), MemberId{7}, node));
  umask(before);
  struct stat st {};
  ASSERT_EQ(stat(path("fleet").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_EQ(read_fleet_secret(path("fleet")).value(), fleet);
  auto file = read_node_key(path("node"));
  ASSERT_TRUE(file);
  EXPECT_EQ(file->member, MemberId{7});
  EXPECT_EQ(file->key, node);
}

TEST_F(KeyFiles, NeverOverwritten) {
  FleetSecret first = make_fleet_secret();
  ASSERT_TRUE(write_fleet_secret(path("fleet"), first));
  auto again = write_fleet_secret(path("fleet"), make_fleet_secret());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::conflict);
  EXPECT_EQ(read_fleet_secret(path("fleet")).value(), first);
}

TEST_F(KeyFiles, RefusedWhereOthersCanReadThem) {
  std::string text = vectors()["valid_files"][0]["text"];
  for (mode_t mode : {0640, 0604, 0660, 0644, 0610}) {
    std::string p = put(text, mode);
    auto key = read_fleet_secret(p);
    ASSERT_FALSE(key) << std::oct << mode;
    EXPECT_EQ(key.error().code, Code::denied);
    EXPECT_NE(key.error().message.find("chmod 600 " + p), std::string::npos) << key.error().message;
  }
  EXPECT_TRUE(read_fleet_secret(put(text, 0400)));
}

TEST_F(KeyFiles, WhatIsNoFile) {
  EXPECT_EQ(read_fleet_secret(path("nothing")).error().code, Code::not_found);
  std::filesystem::create_directory(path("folder"));
  EXPECT_FALSE(read_fleet_secret(path("folder")));
  EXPECT_FALSE(read_fleet_secret("/dev/zero"));
}

}  // namespace
}  // namespace statecast::test
