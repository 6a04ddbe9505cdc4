// SPDX-License-Identifier: BSD-3-Clause
// The table of packets for parse: what the packet is, and what parse says about it. The same rows feed the test, the
// fuzzer's corpus and the benchmark.
#pragma once

#include <string>
#include <vector>

#include "dataplane/packet/parse.h"
#include "tests/support/packet_builder.h"

namespace statecast::test {

struct ParseRow {
  std::string name;
  Packet packet;
  ParseResult result = ParseResult::ok;
  // Looked at where the result is ok.
  Protocol protocol = Protocol::none;
  uint16_t source_port = 0, destination_port = 0;
  size_t payload_size = 0;  // from payload_offset to the end of the IP packet
  Fragment fragment = Fragment::none;
  bool quotes = false;
};

std::vector<ParseRow> parse_rows();  // Ethernet frames, parsed with l4_checksum on

}  // namespace statecast::test
