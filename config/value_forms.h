// SPDX-License-Identifier: BSD-3-Clause
// The forms of value that the schema's tables are made of: ranges, words and examples in one place.
// Threads: pure functions. Ownership: values.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "base/address.h"
#include "config/schema.h"
#include "config/values.h"

namespace statecast {

ValueForm<Duration> duration_value(Duration min, Duration max, const char* example);
ValueForm<ByteCount> bytes_value(ByteCount min, const char* example);  // and "unlimited"
ValueForm<bool> bool_value();
ValueForm<std::string> text_value(const char* type, const char* expected);  // any, also empty
ValueForm<std::string> name_value();  // of a group, port or zone: 1 to 64 letters, digits, '-', '_', '.'; no number
ValueForm<std::string> path_value(const char* example);
ValueForm<std::string> optional_path_value(const char* example);  // or empty
ValueForm<std::string> interface_value();                         // name of a network device
ValueForm<std::string> listen_value();                            // "127.0.0.1:9101", or empty
ValueForm<std::string> device_value();                            // of DPDK
ValueForm<std::string> url_value();                               // "https://10.0.0.5:2379"
ValueForm<std::string> key_prefix_value();
ValueForm<std::string> word_value(std::initializer_list<const char*> words);
ValueForm<IpAddress> address_value();
ValueForm<Endpoint> endpoint_value(uint16_t default_port, const char* example);  // 0: the port must be written
ValueForm<Endpoint> bind_value();
ValueForm<Prefix> prefix_value();
std::string prefix_text(const Prefix& p);  // a host prefix as its address alone
ValueForm<PortConfig::Address> interface_address_value();
ValueForm<RuleConfig::Ports> ports_value();

template <class N>
ValueForm<N> number_value(uint64_t min, uint64_t max) {
  std::string range = std::to_string(min) + " to " + std::to_string(max);
  return {"number", range, "a whole number between " + std::to_string(min) + " and " + std::to_string(max),
          [=](std::string_view t) -> std::optional<N> {
            auto n = parse_whole_number(t, max);
            if (!n || *n < min) return std::nullopt;
            return static_cast<N>(*n);
          },
          [](const N& v) { return std::to_string(v); }};
}

// GroupId, MemberId, ProxyId
template <class Id>
ValueForm<Id> id_value() {
  auto n = number_value<uint32_t>(1, kId24Max);
  return {"id", n.range, n.expected,
          [=](std::string_view t) -> std::optional<Id> {
            auto v = n.parse(t);
            if (!v) return std::nullopt;
            return Id{*v};
          },
          [](const Id& id) { return std::to_string(id.value); }};
}

template <class E>
ValueForm<E> choice_value(std::vector<std::pair<E, std::string>> choices) {
  std::string type, expected = "one of";
  for (auto& [e, word] : choices) {
    type += (type.empty() ? "" : ", ") + word;
    expected += (e == choices.front().first ? " \"" : ", \"") + word + "\"";
  }
  return {"word", type, expected,
          [=](std::string_view t) -> std::optional<E> {
            for (auto& [e, word] : choices)
              if (word == t) return e;
            return std::nullopt;
          },
          [=](const E& v) {
            for (auto& [e, word] : choices)
              if (e == v) return word;
            return std::string();
          }};
}

}  // namespace statecast
