// SPDX-License-Identifier: BSD-3-Clause
#include "tests/control/etcd_double.h"

#include <sodium.h>

#include <nlohmann/json.hpp>

namespace statecast::test {

namespace {

using nlohmann::json;

std::string from_base64(const std::string& text) {
  std::string out(text.size() + 1, '\0');
  size_t length = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(out.data()), out.size(), text.data(), text.size(), nullptr,
                        &length, nullptr, sodium_base64_VARIANT_ORIGINAL) != 0)
    throw std::runtime_error("no base64: " + text);
  out.resize(length);
  return out;
}

int64_t number(const json& j) {
  return std::stoll(j.get<std::string>());
}

}  // namespace

std::string to_base64(const std::string& text) {
  std::string out(sodium_base64_ENCODED_LEN(text.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  out.pop_back();
  return out;
}

void EtcdDouble::pass(Instant now) {
  for (auto l = leases_.begin(); l != leases_.end();) {
    if (now < l->second.ends) {
      ++l;
      continue;
    }
    if (std::erase_if(values_, [&](const auto& v) { return v.second.lease == l->first; }) > 0) ++revision_;
    l = leases_.erase(l);
  }
}

void EtcdDouble::erase(const std::string& key) {
  if (values_.erase(key) > 0) ++revision_;
}

std::string EtcdDouble::post(const std::string& path, const std::string& body, Instant now) {
  pass(now);
  const json in = json::parse(body);
  json out;
  if (path == "/v3/lease/grant") {
    const Duration life = std::chrono::seconds(number(in.at("TTL")));
    leases_[++next_lease_] = {life, now + life};
    out = {{"ID", std::to_string(next_lease_)}, {"TTL", in.at("TTL")}};
  } else if (path == "/v3/lease/keepalive") {
    auto l = leases_.find(number(in.at("ID")));
    out["result"] = {{"ID", in.at("ID")}};
    if (l != leases_.end()) {
      l->second.ends = now + l->second.life;
      out["result"]["TTL"] = std::to_string(l->second.life / 1s);
    }
  } else if (path == "/v3/kv/put") {
    const int64_t lease = in.contains("lease") ? number(in.at("lease")) : 0;
    if (lease != 0 && !leases_.contains(lease)) return {};
    values_[from_base64(in.at("key"))] = {from_base64(in.at("value")), ++revision_, lease};
  } else if (path == "/v3/kv/deleterange") {
    erase(from_base64(in.at("key")));
  } else if (path == "/v3/kv/range") {
    const std::string first = from_base64(in.at("key")), end = from_base64(in.at("range_end"));
    for (auto v = values_.lower_bound(first); v != values_.end() && v->first < end; ++v) {
      out["kvs"].push_back({{"key", to_base64(v->first)},
                            {"value", to_base64(v->second.value)},
                            {"mod_revision", std::to_string(v->second.modified)}});
    }
  } else if (path == "/v3/kv/txn") {
    bool holds = true;
    for (const json& c : in.at("compare")) {
      const std::string key = from_base64(c.at("key"));
      if (c.at("result") == "EQUAL") {
        auto v = values_.find(key);
        holds = holds && number(c.at("mod_revision")) == (v == values_.end() ? 0 : v->second.modified);
      } else {
        const std::string end = from_base64(c.at("range_end"));
        for (auto v = values_.lower_bound(key); v != values_.end() && v->first < end; ++v)
          holds = holds && v->second.modified < number(c.at("mod_revision"));
      }
    }
    if (holds) {
      ++revision_;
      for (const json& s : in.at("success")) {
        const json& put = s.at("request_put");
        values_[from_base64(put.at("key"))] = {from_base64(put.at("value")), revision_, 0};
      }
      out["succeeded"] = true;
    }
  } else {
    throw std::runtime_error("etcd has no " + path);
  }
  out["header"]["revision"] = std::to_string(revision_);
  return out.dump();
}

}  // namespace statecast::test
