// SPDX-License-Identifier: BSD-3-Clause
// Random messages of each kind, and messages as JSON: the words of the vectors in tests/vectors/messages.json.
//
//   Rng rng(seed);  std::vector<uint8_t> packet;
//   MessageBody b = random_body(rng, index, packet);     // index in MessageBody; `packet` holds what the body views
//   nlohmann::json j = to_json(header, b);
//
// to_json is written apart from the codec, so that a vector is a second opinion on it.
// Threads: pure. Ownership: a body's packet is a view into `packet`.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "base/rng.h"
#include "directory/messages.h"

namespace statecast::test {

inline constexpr size_t kBodies = std::variant_size_v<MessageBody>;

MessageHeader random_header(Rng& rng);
// Every field anywhere in its range, lists and packets of any length within their bounds.
MessageBody random_body(Rng& rng, size_t index, std::vector<uint8_t>& packet);

nlohmann::json to_json(const MessageHeader& header, const MessageBody& body);

std::string to_hex(Bytes bytes);
std::vector<uint8_t> from_hex(const std::string& text);

}  // namespace statecast::test
