// SPDX-License-Identifier: BSD-3-Clause
// Writes each row of the table of packets as an input of fuzz_parse. Neighbour discovery has no rows there: two are
// added.
#include <fstream>
#include <string>

#include "tests/packet/parse_rows.h"

using namespace statecast::test;

namespace {

// Large payloads teach a fuzzer nothing.
constexpr size_t kInputMax = 300;

void write(const std::string& folder, std::string name, uint8_t choice, const Packet& packet) {
  if (packet.size() > kInputMax) return;
  for (char& c : name)
    if (c == ' ' || c == '/' || c == '\'') c = '_';
  std::ofstream out(folder + "/" + name, std::ios::binary);
  out.put(static_cast<char>(choice));
  out.write(reinterpret_cast<const char*>(packet.data()), static_cast<std::streamsize>(packet.size()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (const ParseRow& row : parse_rows()) write(argv[1], row.name, 1, row.packet);
  Packet body = unhex("20010db8000000000000000000000010 0101 02000000000b");
  write(argv[1], "solicitation", 1, eth().ip6("fe80::b", "2001:db8::10").ttl(255).icmp(135).payload(body).build());
  write(argv[1], "bare_tcp4", 3, ip4("198.51.100.7", "203.0.113.10").dont_fragment().tcp(40000, 443, kSyn).build());
  write(argv[1], "arp_request", 0,
        eth()
            .ethertype(0x0806)
            .payload(unhex("0001 0800 06 04 0001 02000000000b c0000201 000000000000 c0000202"))
            .build());
  return 0;
}
